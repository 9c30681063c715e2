// How one rank of a running plan talks to the others. Everything is started and then waited for, so that communication can go
// on beside computation and beside other communication.
//
// Channels keep apart what is in flight at once: the executor gives each stream of the Program its own. On one channel of one
// group, collectives run one after the other in the order in which they were started, and all members must start the same
// ones in the same order. Messages (send, receive) between two ranks on one channel match in order; they wait for no
// collective. Different channels and different groups do not wait for each other.
//
// Buffers are host memory and belong to the operation until it is done; input and output must not overlap unless said so. Blocks
// of several members lie one behind the other in the order of the group. Sums are the same bits on every run, and an
// all-reduce gives the same bits on every member.
//
// Errors come out of Request::test and wait. Wrong arguments fail that request alone. When members disagree about an operation
// (kind, size, number format, order), nothing moves for as long as the deadline allows, or any rank calls abort_all, the
// communicator is of no more use and every unfinished request returns the error; the other ranks do not hear of it unless
// this one calls abort_all. One thread at a time may use a communicator, its requests included.
//
//   Request sum = comm.all_reduce(group, Channel(1), {DType::kFp32, ReduceKind::kSum}, bytes);
//   ... compute, calling comm.progress() now and then ...
//   MOESIM_TRY(sum.wait());
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/ids.hpp"
#include "base/units.hpp"
#include "exec/comm/comm_group.hpp"
#include "exec/comm/request.hpp"
#include "models/cost/exchange/algorithm.hpp"
#include "models/precision.hpp"

namespace moesim {

using Channel = Id<struct ChannelTag>;  // 0 .. kChannels-1
inline constexpr int kChannels = 16;

enum class ReduceKind : std::uint8_t { kSum, kMax };

// FP32, or BF16 that is added in FP32. Over a ring, partial sums of BF16 travel, and so are rounded, as BF16 (as in NCCL);
// the small all-reduce carries FP32 and rounds once.
struct Reduction {
  DType type = DType::kFp32;
  ReduceKind kind = ReduceKind::kSum;
};

// All-to-all-v: send_bytes[i] of `send` go to member i, receive_bytes[i] come from it. 1dh and 2dh need to know what others send
// to each other (`all_bytes`, from member i to member j at i * size + j, the same on all), for they hand it on; the others do not
// look at it. Which members share a node the communicator sees from host_of().
struct ExchangeBuffers {
  std::span<const std::byte> send;
  std::span<const std::int64_t> send_bytes;
  std::span<std::byte> receive;
  std::span<const std::int64_t> receive_bytes;
  ExchangeAlgorithm algorithm = ExchangeAlgorithm::kLinear;
  std::span<const std::int64_t> all_bytes = {};
};

class Communicator {
 public:
  Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;
  virtual ~Communicator() = default;

  [[nodiscard]] virtual RankId rank() const = 0;
  [[nodiscard]] virtual int size() const = 0;
  // Ranks with the same name share a machine's memory.
  [[nodiscard]] virtual std::string_view host_of(RankId rank) const = 0;

  // The group of these ranks in this order; asks nothing of the others. The same list gives the same group.
  [[nodiscard]] virtual Result<CommGroup> group(std::vector<RankId> members) = 0;

  [[nodiscard]] virtual Request all_to_all_v(const CommGroup& group, Channel channel,
                                             const ExchangeBuffers& buffers) = 0;
  // Whether it has this algorithm of exchange; a request for another ends with an error.
  [[nodiscard]] virtual bool exchanges_by(ExchangeAlgorithm) const { return true; }
  // `all` holds as many bytes of each member as `mine`; `mine` may be its own place in `all`.
  [[nodiscard]] virtual Request all_gather(const CommGroup& group, Channel channel, std::span<const std::byte> mine,
                                           std::span<std::byte> all) = 0;
  [[nodiscard]] virtual Request all_gather_v(const CommGroup& group, Channel channel, std::span<const std::byte> mine,
                                             std::span<std::byte> all, std::span<const std::int64_t> bytes) = 0;
  // `mine` gets this member's block of the reduction of everyone's `all`.
  [[nodiscard]] virtual Request reduce_scatter(const CommGroup& group, Channel channel, Reduction how,
                                               std::span<const std::byte> all, std::span<std::byte> mine) = 0;
  [[nodiscard]] virtual Request reduce_scatter_v(const CommGroup& group, Channel channel, Reduction how,
                                                 std::span<const std::byte> all, std::span<std::byte> mine,
                                                 std::span<const std::int64_t> elements) = 0;
  [[nodiscard]] virtual Request all_reduce(const CommGroup& group, Channel channel, Reduction how,
                                           std::span<std::byte> data) = 0;
  [[nodiscard]] virtual Request broadcast(const CommGroup& group, Channel channel, RankId root,
                                          std::span<std::byte> data) = 0;
  [[nodiscard]] virtual Request barrier(const CommGroup& group, Channel channel) = 0;

  [[nodiscard]] virtual Request send(RankId to, Channel channel, std::span<const std::byte> data) = 0;
  [[nodiscard]] virtual Request receive(RankId from, Channel channel, std::span<std::byte> data) = 0;

  // Drives everything in flight once and never waits; the loop of a long computation calls it. True: something moved.
  [[nodiscard]] virtual Result<bool> progress() = 0;

  // Gives the core away, after progress() has moved nothing for so long: ranks may outnumber cores, and the rank that this one
  // waits for needs one.
  virtual void rest(Seconds waited) = 0;

  // Ends the work of all ranks. Ranks that are threads get `reason` out of every request; processes are killed by the launcher,
  // and this call does not return: say why first.
  virtual void abort_all(std::string_view reason) = 0;
};

// The group of all ranks, in their order.
[[nodiscard]] Result<CommGroup> everyone(Communicator& comm);

// Seconds since some fixed moment; never runs backwards.
using Clock = std::function<Seconds()>;

// The same on all ranks.
struct CommOptions {
  Clock clock;           // must be there: libraries do not look at the clock themselves
  Seconds deadline{60};  // nothing has moved for so long while somebody waits: an error
  // All-reduce up to this size takes log2(n) exchanges of everything in place of 2(n-1) steps round a ring: at 13 us
  // a step and 25 MB/s (shaped Ethernet), 8 ranks are even at 3 KB, at 0.5 us and 10 GB/s (shared memory) at 44 KB.
  Bytes small_all_reduce{8192};
  // Where ranks outnumber cores, a rank that keeps asking steals from those that it waits for. A rank that has waited for some
  // time sleeps for an eighth of that time, and for so long at most; 0: it never sleeps.
  Seconds longest_nap{0};
  // An all-gather up to this size sends everything to everyone at once: what little there is waits for n-1 turns round a ring
  // otherwise, such as the counts of token copies that come before their exchange.
  Bytes small_all_gather{4096};
};

}  // namespace moesim
