#include "exec/cuda/rank_device.hpp"

#include <fmt/format.h>

#include "exec/cuda/cuda_backend.hpp"
#include "exec/cuda/cuda_devices.hpp"
#include "exec/cuda/nccl.hpp"
#include "exec/cuda/staged_communicator.hpp"

namespace moesim {
namespace {

class CudaRankDevice final : public RankDevice {
 public:
  CudaRankDevice(std::unique_ptr<CudaBackend> backend, std::unique_ptr<Communicator> comm, const Gpu& gpu)
      : backend_(std::move(backend)), comm_(std::move(comm)), gpu_(gpu) {}
  [[nodiscard]] ComputeBackend& backend() override { return *backend_; }
  [[nodiscard]] Communicator& comm() override { return *comm_; }
  [[nodiscard]] std::string hardware() const override {
    return fmt::format("{}, sm_{}{}", gpu_.name, gpu_.major, gpu_.minor);
  }

 private:
  std::unique_ptr<CudaBackend> backend_;
  std::unique_ptr<Communicator> comm_;  // refers to the backend
  Gpu gpu_;
};

// The rank's number among those of its machine, round the machine's GPUs.
int device_in_turn(const Communicator& comm, std::size_t gpus) {
  int before = 0;
  for (int rank = 0; rank < comm.rank().value(); ++rank)
    if (comm.host_of(RankId(rank)) == comm.host_of(comm.rank())) ++before;
  return before % static_cast<int>(gpus);
}

Result<std::unique_ptr<Communicator>> make_communicator(DeviceTransport transport, CudaBackend& backend,
                                                        Communicator& host, const CommOptions& options) {
  if (transport == DeviceTransport::kStaged) {
    MOESIM_ASSIGN(std::unique_ptr<Communicator> staged, StagedCommunicator::make(backend, host));
    return staged;
  }
  return make_nccl_communicator(backend, host, options);
}

}  // namespace

Status check_cuda(const DeviceChoice& choice) {
  MOESIM_ASSIGN(const std::vector<Gpu> gpus, find_gpus());
  if (choice.device >= static_cast<int>(gpus.size()))
    return usage_error(
        fmt::format("--device {}: this machine has {} GPU{}", choice.device, gpus.size(), gpus.size() == 1 ? "" : "s"),
        "GPUs count from 0");
  MOESIM_TRY(load_cublas());
  if (choice.transport == DeviceTransport::kNccl) {
    MOESIM_TRY(check_nccl());
  }
  return {};
}

Result<std::unique_ptr<RankDevice>> open_cuda(const DeviceChoice& choice, Communicator& host,
                                              const CommOptions& options) {
  MOESIM_ASSIGN(const std::vector<Gpu> gpus, find_gpus());
  MOESIM_ASSIGN(const CublasApi cublas, load_cublas());
  const int device = choice.device >= 0 ? choice.device : device_in_turn(host, gpus.size());
  MOESIM_ASSIGN(std::unique_ptr<CudaBackend> backend, CudaBackend::make(device, cublas));
  MOESIM_ASSIGN(std::unique_ptr<Communicator> comm, make_communicator(choice.transport, *backend, host, options));
  return std::make_unique<CudaRankDevice>(std::move(backend), std::move(comm), gpus[static_cast<std::size_t>(device)]);
}

}  // namespace moesim
