// Device memory from GPU to GPU by NCCL. Each rank needs a GPU of its own: up to 2.29 NCCL refuses two ranks of one host on one
// (NCCL_HOSTID, different for each process, makes it take them for hosts of their own, over sockets).
//
// Every group and channel, and every direction of messages between two ranks on a channel, has an NCCL communicator and a stream,
// because operations of one NCCL communicator must be started in the same order everywhere and ours on different channels need
// not be. They are made when first used: the first member makes the id, the others get it over the host's communicator. Nothing
// here waits: NCCL is run in its non-blocking mode and asked, so that ranks which come in different orders do not hold each
// other up, and an error of NCCL or a deadline ends all.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <tuple>
#include <vector>

#include "exec/comm/watchdog.hpp"
#include "exec/cuda/device_communicator.hpp"
#include "exec/cuda/nccl_library.hpp"

namespace moesim {

class NcclCommunicator final : public DeviceCommunicator {
 public:
  [[nodiscard]] static Result<std::unique_ptr<NcclCommunicator>> make(CudaBackend& backend, Communicator& host,
                                                                      const NcclApi& nccl, const CommOptions& options);
  ~NcclCommunicator() override;

  [[nodiscard]] Request all_to_all_v(const CommGroup& group, Channel channel, const ExchangeBuffers& buffers) override;
  [[nodiscard]] bool exchanges_by(ExchangeAlgorithm algorithm) const override {
    return algorithm == ExchangeAlgorithm::kLinear || algorithm == ExchangeAlgorithm::kPairwise;
  }
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
  class Line;
  class Steps;
  // Gives an operation to NCCL, on a line's communicator and stream.
  using Give = std::function<ncclResult_t(const NcclApi& nccl, ncclComm_t comm, cudaStream_t stream)>;
  // Group and channel; for messages the two ends in their order.
  using Key = std::tuple<std::uint64_t, std::int32_t, std::int32_t, Channel>;

  NcclCommunicator(CudaBackend& backend, Communicator& host, const NcclApi& nccl, const CommOptions& options)
      : DeviceCommunicator(backend, host), nccl_(nccl), options_(options) {}
  // The deadline counts while an operation waits.
  [[nodiscard]] Request give(const Key& key, const CommGroup& members, std::string what, Give operation);
  [[nodiscard]] Result<std::unique_ptr<DeviceSteps>> make_steps(const Key& key, const CommGroup& members,
                                                                std::string what, Give operation);
  [[nodiscard]] Request pairwise_exchange(const CommGroup& group, Channel channel, const ExchangeBuffers& buffers);
  [[nodiscard]] Request give_to_group(const CommGroup& group, Channel channel, std::string what, Give operation);
  [[nodiscard]] Status nccl_status(ncclResult_t result, std::string_view what) const;

  NcclApi nccl_;
  CommOptions options_;
  std::map<Key, std::unique_ptr<Line>> lines_;
  bool failed_ = false;
};

}  // namespace moesim
