// Matrix products by cuBLAS, which thinks in columns: a row-major c = op(a) op(b) is its c^T = op(b)^T op(a)^T on the same memory.
#include <fmt/format.h>

#include <vector>

#include "exec/compute/kernel_checks.hpp"
#include "exec/cuda/cuda_backend.hpp"
#include "exec/cuda/kernels/elementwise.hpp"
#include "exec/cuda/operands.hpp"
#include "exec/cuda/scratch.hpp"

namespace moesim {

namespace {

// What a product sums over.
enum class Pass : std::uint8_t { kForward, kInputGradient, kWeightGradient };

cudaDataType_t type_of(const MatrixView& m) { return m.type == DType::kBf16 ? CUDA_R_16BF : CUDA_R_32F; }

// Row-major: c [m, n] = op(a) op(b) + beta c.
struct Problem {
  int m = 0, n = 0, k = 0;
  MatrixView a, b, c;
};

// One expert's part: `rows` rows from `first` on of the activations, matrix `group` of the weights.
struct Part {
  std::int64_t first, rows, group;
};

// y = x w;  gx = gy w^T;  gw += x^T gy, with the operands in the order (a, b, c).
Problem problem_of(Pass pass, const Part& part, const MatrixView& a, const MatrixView& b, const MatrixView& c) {
  const auto size = [](std::int64_t n) { return static_cast<int>(n); };  // fits (Checks)
  const MatrixView rows_of_a = row_range(a, part.first, part.rows);
  switch (pass) {
    case Pass::kForward:
      return {size(part.rows),
              size(c.columns),
              size(a.columns),
              rows_of_a,
              row_range(b, part.group * a.columns, a.columns),
              row_range(c, part.first, part.rows)};
    case Pass::kInputGradient:
      return {size(part.rows),
              size(c.columns),
              size(a.columns),
              rows_of_a,
              row_range(b, part.group * c.columns, c.columns),
              row_range(c, part.first, part.rows)};
    case Pass::kWeightGradient: break;
  }
  return {size(a.columns),
          size(b.columns),
          size(part.rows),
          rows_of_a,
          row_range(b, part.first, part.rows),
          row_range(c, part.group * a.columns, a.columns)};
}

Status cublas_status(cublasStatus_t status, std::string_view kernel) {
  if (status == CUBLAS_STATUS_SUCCESS) return {};
  return fail(ErrorKind::kInternal, fmt::format("{}: cuBLAS refuses with status {}", kernel, static_cast<int>(status)));
}

// As FP32 in scratch memory.
Result<MatrixView> widened(const MatrixView& m, Scratch& scratch, DeviceStream stream) {
  if (m.type == DType::kFp32) return m;
  MOESIM_ASSIGN(float* const memory, scratch.take<float>(m.rows * m.columns));
  const MatrixView wide = dense_view(memory, DType::kFp32, m.rows, m.columns);
  gpu::cast(stream.handle, operand(m), operand(wide));
  return wide;
}

// cuBLAS adds to what is there; a matrix of zeros makes that the same as setting it.
Status clear_to_set(CudaBackend& backend, DeviceStream stream, const MatrixView& gw, GradientSum sum) {
  if (sum == GradientSum::kAdd) return {};
  if (gw.row_stride == gw.columns) return backend.fill_zero(stream, gw.data, storage(gw.rows * gw.columns, gw.type));
  for (std::int64_t row = 0; row < gw.rows; ++row)
    MOESIM_TRY(backend.fill_zero(stream, row_range(gw, row, 1).data, storage(gw.columns, gw.type)));
  return {};
}

}  // namespace

struct CudaBackend::Product {
  std::string_view kernel;
  Pass pass;
  MatrixView a, b, c;
  std::span<const std::int64_t> group_rows;

  [[nodiscard]] float beta() const { return pass == Pass::kWeightGradient ? 1.0F : 0.0F; }
  [[nodiscard]] cublasOperation_t of_a() const { return pass == Pass::kWeightGradient ? CUBLAS_OP_T : CUBLAS_OP_N; }
  [[nodiscard]] cublasOperation_t of_b() const { return pass == Pass::kInputGradient ? CUBLAS_OP_T : CUBLAS_OP_N; }
};

// cuBLAS wants both factors in one format, and a result that is not narrower; other mixes go through FP32.
Status CudaBackend::multiply(DeviceStream stream, const Product& product) {
  MOESIM_TRY(select());
  const bool mixed = product.a.type != product.b.type;
  const bool narrow_result = product.c.type == DType::kBf16 && product.a.type == DType::kFp32;
  if (!mixed && !narrow_result) return multiply_as_stored(stream, product);
  Scratch scratch(stream.handle);
  Product wide = product;
  MOESIM_ASSIGN(wide.a, widened(product.a, scratch, stream));
  MOESIM_ASSIGN(wide.b, widened(product.b, scratch, stream));
  if (product.c.type == DType::kFp32) return multiply_as_stored(stream, wide);
  MOESIM_ASSIGN(float* const memory, scratch.take<float>(product.c.rows * product.c.columns));
  wide.c = dense_view(memory, DType::kFp32, product.c.rows, product.c.columns);
  MOESIM_TRY(multiply_as_stored(stream, wide));
  gpu::cast(stream.handle, operand(wide.c), operand(product.c));
  return launched(product.kernel);
}

Status CudaBackend::multiply_as_stored(DeviceStream stream, const Product& product) {
  std::vector<Problem> problems;
  std::int64_t first = 0;
  std::int64_t group = 0;
  for (const std::int64_t rows : product.group_rows) {
    const Problem problem = problem_of(product.pass, {first, rows, group++}, product.a, product.b, product.c);
    first += rows;
    if (problem.m == 0 || problem.n == 0) continue;
    if (problem.k > 0)
      problems.push_back(problem);
    else if (product.beta() == 0.0F)
      gpu::fill(stream.handle, operand(problem.c), 0.0F);  // a sum of nothing
  }
  if (problems.empty()) return launched(product.kernel);

  const float alpha = 1.0F;
  const float beta = product.beta();
  const cudaDataType_t type = type_of(product.a);
  const cudaDataType_t result = type_of(product.c);
  const std::lock_guard lock(cublas_mutex_);
  MOESIM_TRY(cublas_status(cublas_.set_stream(handle_, static_cast<cudaStream_t>(stream.handle)), product.kernel));
  const auto stride = [](const MatrixView& m) { return static_cast<int>(m.row_stride); };

  if (problems.size() > 1 && cublas_.grouped_gemm_ex != nullptr && type == result) {
    const auto count = problems.size();
    const std::vector<cublasOperation_t> of_b(count, product.of_b()), of_a(count, product.of_a());
    const std::vector<float> alphas(count, alpha), betas(count, beta);
    const std::vector<int> one_each(count, 1);
    std::vector<int> m, n, k, lda, ldb, ldc;
    std::vector<const void*> addresses;  // of all a, then all b, then all c
    for (const Problem& p : problems) {
      m.push_back(p.m), n.push_back(p.n), k.push_back(p.k);
      lda.push_back(stride(p.a)), ldb.push_back(stride(p.b)), ldc.push_back(stride(p.c));
      addresses.push_back(p.a.data);
    }
    for (const Problem& p : problems) addresses.push_back(p.b.data);
    for (const Problem& p : problems) addresses.push_back(p.c.data);
    Scratch scratch(stream.handle);
    MOESIM_ASSIGN(const void** const on_device,
                  scratch.take_copy(addresses.data(), static_cast<std::int64_t>(addresses.size())));
    const cublasStatus_t status = cublas_.grouped_gemm_ex(
        handle_, of_b.data(), of_a.data(), n.data(), m.data(), k.data(), alphas.data(), on_device + count, type,
        ldb.data(), on_device, type, lda.data(), betas.data(), const_cast<void**>(on_device + 2 * count), result,
        ldc.data(), static_cast<int>(count), one_each.data(), CUBLAS_COMPUTE_32F);
    if (status != CUBLAS_STATUS_NOT_SUPPORTED) return cublas_status(status, product.kernel);
  }
  for (const Problem& p : problems)
    MOESIM_TRY(cublas_status(cublas_.gemm_ex(handle_, product.of_b(), product.of_a(), p.n, p.m, p.k, &alpha, p.b.data,
                                             type, stride(p.b), p.a.data, type, stride(p.a), &beta, p.c.data, result,
                                             stride(p.c), CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
                             product.kernel));
  return {};
}

Status CudaBackend::gemm(DeviceStream stream, const GemmArgs& args) {
  const std::int64_t rows[] = {args.x.rows};
  MOESIM_TRY(check_forward({"gemm", rows}, args.x, args.w, args.y));
  return multiply(stream, {"gemm", Pass::kForward, args.x, args.w, args.y, rows});
}
Status CudaBackend::gemm_dgrad(DeviceStream stream, const GemmDgradArgs& args) {
  const std::int64_t rows[] = {args.gy.rows};
  MOESIM_TRY(check_input_gradient({"gemm_dgrad", rows}, args.gy, args.w, args.gx));
  return multiply(stream, {"gemm_dgrad", Pass::kInputGradient, args.gy, args.w, args.gx, rows});
}
Status CudaBackend::gemm_wgrad(DeviceStream stream, const GemmWgradArgs& args) {
  const std::int64_t rows[] = {args.x.rows};
  MOESIM_TRY(check_weight_gradient({"gemm_wgrad", rows}, args.x, args.gy, args.gw));
  MOESIM_TRY(clear_to_set(*this, stream, args.gw, args.sum));
  return multiply(stream, {"gemm_wgrad", Pass::kWeightGradient, args.x, args.gy, args.gw, rows});
}
Status CudaBackend::grouped_gemm(DeviceStream stream, const GroupedGemmArgs& args) {
  MOESIM_TRY(check_forward({"grouped_gemm", args.group_rows}, args.x, args.w, args.y));
  return multiply(stream, {"grouped_gemm", Pass::kForward, args.x, args.w, args.y, args.group_rows});
}
Status CudaBackend::grouped_gemm_dgrad(DeviceStream stream, const GroupedGemmDgradArgs& args) {
  MOESIM_TRY(check_input_gradient({"grouped_gemm_dgrad", args.group_rows}, args.gy, args.w, args.gx));
  return multiply(stream, {"grouped_gemm_dgrad", Pass::kInputGradient, args.gy, args.w, args.gx, args.group_rows});
}
Status CudaBackend::grouped_gemm_wgrad(DeviceStream stream, const GroupedGemmWgradArgs& args) {
  MOESIM_TRY(check_weight_gradient({"grouped_gemm_wgrad", args.group_rows}, args.x, args.gy, args.gw));
  MOESIM_TRY(clear_to_set(*this, stream, args.gw, args.sum));
  return multiply(stream, {"grouped_gemm_wgrad", Pass::kWeightGradient, args.x, args.gy, args.gw, args.group_rows});
}

}  // namespace moesim
