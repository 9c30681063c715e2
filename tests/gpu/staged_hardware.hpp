// A rank with a backend of the GPU kind, whose memory goes through the host to the other ranks.
#pragma once

#include <memory>
#include <utility>

#include "exec/cuda/cuda_backend.hpp"
#include "exec/cuda/staged_communicator.hpp"
#include "tests/unit/exec/run/run_testing.hpp"

namespace moesim {

class StagedHardware final : public HardwareUnderTest {
 public:
  [[nodiscard]] static Result<std::unique_ptr<HardwareUnderTest>> open(const CublasApi& cublas, Communicator& host) {
    auto hardware = std::make_unique<StagedHardware>();
    MOESIM_ASSIGN(hardware->backend_, CudaBackend::make(0, cublas));
    MOESIM_ASSIGN(hardware->comm_, StagedCommunicator::make(*hardware->backend_, host));
    return hardware;
  }
  [[nodiscard]] ComputeBackend& backend() override { return *backend_; }
  [[nodiscard]] Communicator& comm() override { return *comm_; }

 private:
  std::unique_ptr<CudaBackend> backend_;
  std::unique_ptr<StagedCommunicator> comm_;  // refers to the backend
};

}  // namespace moesim
