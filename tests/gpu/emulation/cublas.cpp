#include "tests/gpu/emulation/cublas.hpp"

#include <cstdint>
#include <cstring>
#include <vector>

#include "exec/compute/bf16.hpp"
#include "tests/gpu/emulation/grid.hpp"

namespace moesim::emulation {
namespace {

thread_local cudaStream_t current_stream = nullptr;  // ranks are threads, each with a handle

float number(const void* data, cudaDataType_t type, std::int64_t at) {
  if (type == CUDA_R_32F) return static_cast<const float*>(data)[at];
  return bf16_to_float(static_cast<const std::uint16_t*>(data)[at]);
}
void put(void* data, cudaDataType_t type, std::int64_t at, float value) {
  if (type == CUDA_R_32F)
    static_cast<float*>(data)[at] = value;
  else
    static_cast<std::uint16_t*>(data)[at] = float_to_bf16(value);
}

// Column by column, as cuBLAS lays matrices out.
struct Gemm {
  cublasOperation_t transa, transb;
  int m, n, k;
  float alpha;
  const void* a;
  cudaDataType_t a_type;
  int lda;
  const void* b;
  cudaDataType_t b_type;
  int ldb;
  float beta;
  void* c;
  cudaDataType_t c_type;
  int ldc;

  [[nodiscard]] cublasStatus_t check() const {
    const bool fits = lda >= (transa == CUBLAS_OP_N ? m : k) && ldb >= (transb == CUBLAS_OP_N ? k : n) && ldc >= m &&
                      m > 0 && n > 0 && k > 0;
    const bool types = a_type == b_type && (c_type == CUDA_R_32F || c_type == a_type);
    return !fits ? CUBLAS_STATUS_INVALID_VALUE : types ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
  }
  void run() const {
    for (std::int64_t j = 0; j < n; ++j)
      for (std::int64_t i = 0; i < m; ++i) {
        double sum = 0;
        for (std::int64_t l = 0; l < k; ++l)
          sum += static_cast<double>(number(a, a_type, transa == CUBLAS_OP_N ? i + l * lda : l + i * lda)) *
                 static_cast<double>(number(b, b_type, transb == CUBLAS_OP_N ? l + j * ldb : j + l * ldb));
        const std::int64_t at = i + j * ldc;
        const float before = beta == 0.0F ? 0.0F : beta * number(c, c_type, at);
        put(c, c_type, at, alpha * static_cast<float>(sum) + before);
      }
  }
};

cublasStatus_t create(cublasHandle_t* handle) {
  *handle = reinterpret_cast<cublasHandle_t>(1);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t destroy(cublasHandle_t) { return CUBLAS_STATUS_SUCCESS; }
cublasStatus_t set_stream(cublasHandle_t, cudaStream_t stream) {
  current_stream = stream;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t gemm_ex(cublasHandle_t, cublasOperation_t transa, cublasOperation_t transb, int m, int n, int k,
                       const void* alpha, const void* a, cudaDataType_t a_type, int lda, const void* b,
                       cudaDataType_t b_type, int ldb, const void* beta, void* c, cudaDataType_t c_type, int ldc,
                       cublasComputeType_t, cublasGemmAlgo_t) {
  const Gemm gemm{transa, transb, m, n,      k,   *static_cast<const float*>(alpha), a,
                  a_type, lda,    b, b_type, ldb, *static_cast<const float*>(beta),  c,
                  c_type, ldc};
  if (const cublasStatus_t status = gemm.check(); status != CUBLAS_STATUS_SUCCESS) return status;
  enqueue(current_stream, [gemm] { gemm.run(); });
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t grouped_gemm_ex(cublasHandle_t, const cublasOperation_t transa[], const cublasOperation_t transb[],
                               const int m[], const int n[], const int k[], const void* alpha, const void* const a[],
                               cudaDataType_t a_type, const int lda[], const void* const b[], cudaDataType_t b_type,
                               const int ldb[], const void* beta, void* const c[], cudaDataType_t c_type,
                               const int ldc[], int groups, const int group_size[], cublasComputeType_t) {
  std::vector<Gemm> gemms;
  for (int g = 0; g < groups; ++g) {
    if (group_size[g] != 1) return CUBLAS_STATUS_NOT_SUPPORTED;
    gemms.push_back({transa[g], transb[g], m[g], n[g], k[g], static_cast<const float*>(alpha)[g], nullptr, a_type,
                     lda[g], nullptr, b_type, ldb[g], static_cast<const float*>(beta)[g], nullptr, c_type, ldc[g]});
    if (const cublasStatus_t status = gemms.back().check(); status != CUBLAS_STATUS_SUCCESS) return status;
  }
  enqueue(current_stream, [gemms, a, b, c]() mutable {  // the addresses stand in device memory
    for (std::size_t g = 0; g < gemms.size(); ++g) {
      gemms[g].a = a[g], gemms[g].b = b[g], gemms[g].c = c[g];
      gemms[g].run();
    }
  });
  return CUBLAS_STATUS_SUCCESS;
}

}  // namespace

CublasApi emulated_cublas() { return {create, destroy, set_stream, gemm_ex, grouped_gemm_ex}; }

}  // namespace moesim::emulation
