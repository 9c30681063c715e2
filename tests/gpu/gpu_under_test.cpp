// The same tests on a real GPU; all of them are skipped where there is none.
#include <fmt/format.h>

#include "exec/cuda/cuda_backend.hpp"
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

}  // namespace moesim::kernel_testing
