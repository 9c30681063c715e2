// The GPU's kernels and its backend on the emulated device: the same tests as the CPU's.
#include "exec/cuda/cuda_backend.hpp"
#include "tests/gpu/emulation/cublas.hpp"
#include "tests/unit/exec/compute/kernel_testing.hpp"

namespace moesim::kernel_testing {

ComputeBackend& backend() {
  static const std::unique_ptr<ComputeBackend> instance = CudaBackend::make(0, emulation::emulated_cublas()).value();
  return *instance;
}

double error_of_stored_output() { return 1.0 / 128; }

}  // namespace moesim::kernel_testing
