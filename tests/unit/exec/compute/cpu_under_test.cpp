#include "kernel_testing.hpp"

namespace moesim::kernel_testing {

ComputeBackend& backend() {
  static const std::unique_ptr<ComputeBackend> instance = make_cpu_backend();
  return *instance;
}

}  // namespace moesim::kernel_testing
