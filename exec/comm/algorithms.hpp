// The collectives, one algorithm per file, each the one that a law of models/cost prices. n is the size of the group, S the bytes of
// the whole buffer; blocks are in member order, one per member, perhaps empty.
//
//   linear all-to-all     1 round, n-1 peers at once              all_to_all_v_law, pairwise_law
//   pairwise all-to-all   n-1 rounds of one peer each way         the same bytes, less incast
//   1dh all-to-all        to the node's first member, across, on  models/cost/exchange/one_level_exchange.cpp
//   2dh all-to-all        inside the node, then across            models/cost/exchange/two_level_exchange.cpp
//   pipe all-to-all       pairwise, inside beside across          models/cost/exchange/pipe_exchange.cpp
//   linear all-gather     1 round, n-1 peers at once, (n-1)/n S sent
//   ring all-gather       n-1 rounds, (n-1)/n S passed on         ring_law (Patarasuk & Yuan, JPDC 2009)
//   ring reduce-scatter   n-1 rounds, (n-1)/n S passed on         ring_law
//   ring all-reduce       the two above, 2(n-1)/n S               ring_law
//   recursive doubling    log2(n) rounds of S each, +2 if n is no power of 2   (Thakur, Rabenseifner & Gropp, 2005)
//   binomial broadcast    at most ceil(log2(n)) rounds of S       tree_law
//   dissemination barrier ceil(log2(n)) rounds of nothing         (Hensgen, Finkel & Manber, 1988)
//
// Order of summation, the same on every run: round a ring, block j is ((x[j+1] + x[j+2]) + ...) + x[j], places modulo n;
// recursive doubling adds neighbours first, then pairs, and so on.
// Example, ring all-reduce of 4 members and 1 MiB: 6 rounds of 256 KiB.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "exec/comm/schedule.hpp"
#include "models/cost/exchange/node_places.hpp"

namespace moesim {

using Blocks = std::vector<std::span<std::byte>>;
using ConstBlocks = std::vector<std::span<const std::byte>>;

[[nodiscard]] Schedule linear_all_to_all(const CommGroup& group, const ConstBlocks& send, const Blocks& receive);
[[nodiscard]] Schedule pairwise_all_to_all(const CommGroup& group, const ConstBlocks& send, const Blocks& receive);
// What a rank that hands on must know: which members share a node, and bytes from every member to every other, row by row.
struct ExchangeMap {
  NodePlaces places;
  std::span<const std::int64_t> bytes;
  [[nodiscard]] std::size_t at(int from, int to) const {
    return static_cast<std::size_t>(
        bytes[static_cast<std::size_t>(from) * static_cast<std::size_t>(places.size()) + static_cast<std::size_t>(to)]);
  }
};
[[nodiscard]] Schedule one_level_all_to_all(const CommGroup& group, const ConstBlocks& send, const Blocks& receive,
                                            const ExchangeMap& map);
[[nodiscard]] Schedule two_level_all_to_all(const CommGroup& group, const ConstBlocks& send, const Blocks& receive,
                                            const ExchangeMap& map);
// Of the map the places alone.
[[nodiscard]] Schedule pipe_all_to_all(const CommGroup& group, const ConstBlocks& send, const Blocks& receive,
                                       const NodePlaces& places);
// By name; the one list that the executor has of them.
[[nodiscard]] Schedule all_to_all_schedule(ExchangeAlgorithm algorithm, const CommGroup& group, const ConstBlocks& send,
                                           const Blocks& receive, const ExchangeMap& map);
[[nodiscard]] bool relays(ExchangeAlgorithm algorithm);
// Every member's block is in its place before; all are there after.
[[nodiscard]] Schedule linear_all_gather(const CommGroup& group, const Blocks& blocks);
[[nodiscard]] Schedule ring_all_gather(const CommGroup& group, const Blocks& blocks);
// `mine` may not be one of `blocks`.
[[nodiscard]] Schedule ring_reduce_scatter(const CommGroup& group, Reduction how, const ConstBlocks& blocks,
                                           std::span<std::byte> mine);
// In place.
[[nodiscard]] Schedule ring_all_reduce(const CommGroup& group, Reduction how, const Blocks& blocks);
[[nodiscard]] Schedule recursive_doubling_all_reduce(const CommGroup& group, Reduction how, std::span<std::byte> data);
[[nodiscard]] Schedule binomial_broadcast(const CommGroup& group, int root_position, std::span<std::byte> data);
[[nodiscard]] Schedule dissemination_barrier(const CommGroup& group);

}  // namespace moesim
