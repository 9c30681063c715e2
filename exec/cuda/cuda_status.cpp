#include "exec/cuda/cuda_status.hpp"

#include <fmt/format.h>

namespace moesim {

Status cuda_status(cudaError_t code, std::string_view what) {
  switch (code) {
    case cudaSuccess: return {};
    case cudaErrorInsufficientDriver:
    case cudaErrorStubLibrary:
    case cudaErrorNoDevice:
    case cudaErrorDevicesUnavailable:
    case cudaErrorSystemDriverMismatch:
    case cudaErrorCompatNotSupportedOnDevice:
      return fail(ErrorKind::kNoDevice, fmt::format("no usable GPU: {}", cudaGetErrorString(code)), {},
                  "--backend cuda needs an NVIDIA GPU and a driver for CUDA 12 or newer; --backend cpu needs neither");
    case cudaErrorNoKernelImageForDevice:
      return fail(ErrorKind::kNoDevice, "no usable GPU: this program has no kernels for it", {},
                  "build with CMAKE_CUDA_ARCHITECTURES set to the GPU's compute capability");
    default:
      return fail(ErrorKind::kInternal,
                  fmt::format("CUDA: {}: {} ({})", what, cudaGetErrorString(code), cudaGetErrorName(code)));
  }
}

}  // namespace moesim
