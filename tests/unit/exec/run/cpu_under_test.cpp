#include "tests/unit/exec/run/run_testing.hpp"

namespace moesim {
namespace {

class Cpu final : public HardwareUnderTest {
 public:
  explicit Cpu(Communicator& comm) : comm_(comm) {}
  [[nodiscard]] ComputeBackend& backend() override { return *backend_; }
  [[nodiscard]] Communicator& comm() override { return comm_; }

 private:
  std::unique_ptr<ComputeBackend> backend_ = make_cpu_backend();
  Communicator& comm_;
};

}  // namespace

Result<std::unique_ptr<HardwareUnderTest>> hardware_under_test(Communicator& host) {
  return std::make_unique<Cpu>(host);
}

}  // namespace moesim
