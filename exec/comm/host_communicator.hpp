// The Communicator for host memory: our own collectives over a Transport.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "exec/comm/communicator.hpp"
#include "exec/comm/message.hpp"
#include "exec/comm/operation.hpp"
#include "exec/comm/schedule.hpp"
#include "exec/comm/transport.hpp"
#include "exec/comm/watchdog.hpp"
#include "models/cost/exchange/node_places.hpp"

namespace moesim {

class HostCommunicator final : public Communicator {
 public:
  // An error where the transport has too few tags to keep groups and channels apart.
  [[nodiscard]] static Result<std::unique_ptr<HostCommunicator>> make(std::unique_ptr<Transport> transport,
                                                                      CommOptions options);
  ~HostCommunicator() override;

  [[nodiscard]] RankId rank() const override { return transport_->rank(); }
  [[nodiscard]] int size() const override { return transport_->size(); }
  [[nodiscard]] std::string_view host_of(RankId rank) const override { return transport_->host_of(rank); }
  [[nodiscard]] Result<CommGroup> group(std::vector<RankId> members) override;

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
  [[nodiscard]] Request barrier(const CommGroup& group, Channel channel) override;
  [[nodiscard]] Request send(RankId to, Channel channel, std::span<const std::byte> data) override;
  [[nodiscard]] Request receive(RankId from, Channel channel, std::span<std::byte> data) override;

  [[nodiscard]] Result<bool> progress() override;
  void rest(Seconds waited) override;
  void abort_all(std::string_view reason) override { transport_->abort_all(reason); }

  // What a Request of this communicator calls.
  [[nodiscard]] Result<bool> test(const Operation& operation);
  [[nodiscard]] Status wait(const Operation& operation);

 private:
  using OperationPtr = std::shared_ptr<Operation>;
  // What must not overtake each other: the collectives of one group on one channel. The first one runs.
  struct Lane {
    std::deque<OperationPtr> queue;
    std::uint32_t started = 0;
  };
  enum class Direction : std::uint8_t { kOut, kIn };

  HostCommunicator(std::unique_ptr<Transport> transport, CommOptions options, int group_bits);

  [[nodiscard]] NodePlaces places_of(const CommGroup& group) const;
  [[nodiscard]] int collective_tag(const CommGroup& group, Channel channel) const;
  [[nodiscard]] std::uint64_t group_tag(const CommGroup& group) const;
  [[nodiscard]] Request start_collective(const CommGroup& group, Channel channel, CommKind kind, std::uint16_t detail,
                                         Schedule schedule);
  [[nodiscard]] Request start_message(Direction direction, RankId peer, Channel channel, Round round);
  [[nodiscard]] Request request_for(OperationPtr operation);
  [[nodiscard]] Result<bool> advance_all();
  [[nodiscard]] Error stuck_error() const;
  [[nodiscard]] tl::unexpected<Error> break_with(Error error);
  [[nodiscard]] bool anything_in_flight() const { return in_flight_ > 0; }

  std::unique_ptr<Transport> transport_;
  CommOptions options_;
  int group_bits_;
  Watchdog watchdog_;
  std::optional<Error> broken_;
  std::vector<CommGroup> groups_;
  std::map<std::pair<std::uint64_t, Channel>, Lane> lanes_;
  std::map<std::tuple<Direction, RankId, Channel>, std::uint32_t> messages_started_;
  std::vector<OperationPtr> messages_;
  int in_flight_ = 0;  // in lanes_ and messages_
};

}  // namespace moesim
