// The functions of cuBLAS that are called, found when the program runs.
#pragma once

#include <cublas_v2.h>

#include "base/error.hpp"

namespace moesim {

struct CublasApi {
  decltype(cublasCreate_v2)* create = nullptr;
  decltype(cublasDestroy_v2)* destroy = nullptr;
  decltype(cublasSetStream_v2)* set_stream = nullptr;
  cublasStatus_t (*gemm_ex)(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb, int m, int n,
                            int k, const void* alpha, const void* a, cudaDataType_t a_type, int lda, const void* b,
                            cudaDataType_t b_type, int ldb, const void* beta, void* c, cudaDataType_t c_type, int ldc,
                            cublasComputeType_t compute, cublasGemmAlgo_t algorithm) = nullptr;
  // From 12.5 on; nullptr before.
  cublasStatus_t (*grouped_gemm_ex)(cublasHandle_t handle, const cublasOperation_t transa[],
                                    const cublasOperation_t transb[], const int m[], const int n[], const int k[],
                                    const void* alpha, const void* const a[], cudaDataType_t a_type, const int lda[],
                                    const void* const b[], cudaDataType_t b_type, const int ldb[], const void* beta,
                                    void* const c[], cudaDataType_t c_type, const int ldc[], int groups,
                                    const int group_size[], cublasComputeType_t compute) = nullptr;
};

[[nodiscard]] Result<CublasApi> load_cublas();

}  // namespace moesim
