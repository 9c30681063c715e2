// The same tests on a real GPU; all of them are skipped where there is none.
#include "exec/cuda/cuda_backend.hpp"
#include "tests/gpu/staged_hardware.hpp"
#include "tests/unit/exec/compute/kernel_testing.hpp"

namespace moesim::kernel_testing {
namespace {

Result<std::unique_ptr<CudaBackend>>& device() {
  static Result<std::unique_ptr<CudaBackend>> instance = [] {
    const Result<CublasApi> cublas = load_cublas();
    return cublas ? CudaBackend::make(0, *cublas) : tl::unexpected(cublas.error());
  }();
  return instance;
}

class NeedsGpu : public ::testing::Environment {
 public:
  void SetUp() override {
    if (!device()) GTEST_SKIP() << device().error().what;
  }
};
const ::testing::Environment* const kNeedsGpu = ::testing::AddGlobalTestEnvironment(new NeedsGpu);

}  // namespace

ComputeBackend& backend() { return **device(); }

double error_of_stored_output() { return 1.0 / 128; }

}  // namespace moesim::kernel_testing

namespace moesim {

// Ranks are threads that share one GPU.
Result<std::unique_ptr<HardwareUnderTest>> hardware_under_test(Communicator& host) {
  MOESIM_ASSIGN(const CublasApi cublas, load_cublas());
  return StagedHardware::open(cublas, host);
}

}  // namespace moesim
