#include "exec/cuda/cublas_library.hpp"

#include "base/shared_library.hpp"

namespace moesim {

Result<CublasApi> load_cublas() {
  constexpr const char* kNames[] = {"libcublas.so.13", "libcublas.so.12", "libcublas.so"};
  MOESIM_ASSIGN(const SharedLibrary library, SharedLibrary::open("cuBLAS", kNames));
  CublasApi api;
  MOESIM_TRY(library.bind(api.create, "cublasCreate_v2"));
  MOESIM_TRY(library.bind(api.destroy, "cublasDestroy_v2"));
  MOESIM_TRY(library.bind(api.set_stream, "cublasSetStream_v2"));
  MOESIM_TRY(library.bind(api.gemm_ex, "cublasGemmEx"));
  library.bind_if_there(api.grouped_gemm_ex, "cublasGemmGroupedBatchedEx");
  return api;
}

}  // namespace moesim
