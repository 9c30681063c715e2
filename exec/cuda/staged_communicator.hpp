// Device memory over a communicator for host memory, by way of pinned buffers: copied down, communicated, copied up. For MPI that
// knows nothing of CUDA, and for ranks that are threads; where NCCL can be had it is several times faster.
//
// The copies have streams of their own, one for each direction, so that one operation's way down overlaps another's way up.
#pragma once

#include <functional>

#include "exec/cuda/device_communicator.hpp"
#include "exec/cuda/pinned_pool.hpp"

namespace moesim {

class StagedCommunicator final : public DeviceCommunicator {
 public:
  [[nodiscard]] static Result<std::unique_ptr<StagedCommunicator>> make(CudaBackend& backend, Communicator& host);
  ~StagedCommunicator() override;

  [[nodiscard]] Request all_to_all_v(const CommGroup& group, Channel channel, const ExchangeBuffers& buffers) override;
  [[nodiscard]] Request all_gather(const CommGroup& group, Channel channel, std::span<const std::byte> mine,
                                   std::span<std::byte> all) override;
  [[nodiscard]] Request all_gather_v(const CommGroup& group, Channel channel, std::span<const std::byte> mine,
                                     std::span<std::byte> all, std::span<const std::int64_t> bytes) override;
  [[nodiscard]] Request reduce_scatter(const CommGroup& group, Channel channel, Reduction how,
                                       std::span<const std::byte> all, std::span<std::byte> mine) override;
  [[nodiscard]] Request reduce_scatter_v(const CommGroup& group, Channel channel, Reduction how,
                                         std::span<const std::byte> all, std::span<std::byte> mine,
                                         std::span<const std::int64_t> elements) override;
  [[nodiscard]] Request all_reduce(const CommGroup& group, Channel channel, Reduction how,
                                   std::span<std::byte> data) override;
  [[nodiscard]] Request broadcast(const CommGroup& group, Channel channel, RankId root,
                                  std::span<std::byte> data) override;
  [[nodiscard]] Request send(RankId to, Channel channel, std::span<const std::byte> data) override;
  [[nodiscard]] Request receive(RankId from, Channel channel, std::span<std::byte> data) override;

 private:
  using Start = std::function<Request(std::span<const std::byte> in, std::span<std::byte> out)>;
  class Steps;

  StagedCommunicator(CudaBackend& backend, Communicator& host) : DeviceCommunicator(backend, host) {}
  // `begin` is given the buffers as they are where they are host memory, and pinned ones in their place otherwise. Where both
  // are the same memory, it gets the same pinned one.
  [[nodiscard]] Request stage(std::span<const std::byte> in, std::span<std::byte> out, Start begin);
  [[nodiscard]] Result<std::unique_ptr<DeviceSteps>> make_steps(std::span<const std::byte> in, std::span<std::byte> out,
                                                                Start begin);

  PinnedPool pool_;
  DeviceStream down_, up_;
};

}  // namespace moesim
