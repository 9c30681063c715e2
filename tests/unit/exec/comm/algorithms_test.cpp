#include "exec/comm/algorithms.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <tuple>

namespace moesim {
namespace {

CommGroup group_of(int n, int position) {
  std::vector<RankId> members;
  for (int rank = 0; rank < n; ++rank) members.emplace_back(rank);
  return CommGroup::make(members, RankId(position), n).value();
}

std::size_t sent(const Schedule& schedule) {
  std::size_t bytes = 0;
  for (const Round& round : schedule.rounds)
    for (const SendStep& send : round.sends) bytes += send.data.size();
  return bytes;
}

std::size_t message_rounds(const Schedule& schedule) {
  std::size_t count = 0;
  for (const Round& round : schedule.rounds) count += round.sends.empty() && round.receives.empty() ? 0u : 1u;
  return count;
}

struct Memory {
  std::vector<std::byte> bytes = std::vector<std::byte>(4800);
  Blocks blocks(int n) { return cut(std::span(bytes), counts(n), 1); }
  ConstBlocks const_blocks(int n) { return cut(std::span<const std::byte>(bytes), counts(n), 1); }
  [[nodiscard]] std::vector<std::int64_t> counts(int n) const {
    return std::vector<std::int64_t>(static_cast<std::size_t>(n), static_cast<std::int64_t>(bytes.size()) / n);
  }
};

// What the cost laws take for granted: rounds and bytes per rank, here of 4800 bytes.
TEST(Algorithms, MoveWhatTheLawsPrice) {
  Memory memory, other;
  for (const int n : {2, 3, 4, 5, 8}) {
    const auto rounds = static_cast<std::size_t>(n - 1);
    const std::size_t share = memory.bytes.size() / static_cast<std::size_t>(n) * rounds;  // (n-1)/n S
    for (int position = 0; position < n; ++position) {
      const CommGroup group = group_of(n, position);
      const auto own = other.blocks(n)[static_cast<std::size_t>(position)];
      const Reduction sum{DType::kFp32, ReduceKind::kSum};

      const Schedule linear = linear_all_to_all(group, memory.const_blocks(n), other.blocks(n));
      EXPECT_EQ(message_rounds(linear), 1u);
      EXPECT_EQ(sent(linear), share);
      const Schedule pairwise = pairwise_all_to_all(group, memory.const_blocks(n), other.blocks(n));
      EXPECT_EQ(message_rounds(pairwise), rounds);
      EXPECT_EQ(sent(pairwise), share);
      const Schedule gather = ring_all_gather(group, memory.blocks(n));
      EXPECT_EQ(message_rounds(gather), rounds);
      EXPECT_EQ(sent(gather), share);
      const Schedule at_once = linear_all_gather(group, memory.blocks(n));
      EXPECT_EQ(message_rounds(at_once), 1u);
      EXPECT_EQ(sent(at_once), share);
      const Schedule scatter = ring_reduce_scatter(group, sum, memory.const_blocks(n), own);
      EXPECT_EQ(message_rounds(scatter), rounds);
      EXPECT_EQ(sent(scatter), share);
      const Schedule reduce = ring_all_reduce(group, sum, memory.blocks(n));
      EXPECT_EQ(message_rounds(reduce), 2 * rounds);
      EXPECT_EQ(sent(reduce), 2 * share);
    }
  }
}

// Every pair 100 bytes; nodes of `per_node` ranks.
struct Exchanged {
  std::size_t rounds = 0;    // with messages, of the longer stream
  std::size_t inside = 0;    // bytes that the rank sends to its node,
  std::size_t across = 0;    // to others,
  std::size_t messages = 0;  // in so many messages
};
Exchanged exchanged(ExchangeAlgorithm algorithm, int n, int per_node, int position) {
  const CommGroup group = group_of(n, position);
  std::vector<std::int32_t> nodes;
  for (int rank = 0; rank < n; ++rank) nodes.push_back(rank / per_node);
  const std::vector<std::int64_t> all(static_cast<std::size_t>(n * n), 100);
  std::vector<std::byte> out(static_cast<std::size_t>(100 * n)), in(out.size());
  const std::vector<std::int64_t> each(static_cast<std::size_t>(n), 100);
  const Schedule made = all_to_all_schedule(algorithm, group, cut(std::span<const std::byte>(out), each, 1),
                                            cut(std::span(in), each, 1), {node_places(nodes), all});
  Exchanged result;
  for (const std::vector<Round>* stream : {&made.rounds, &made.beside}) {
    std::size_t rounds = 0;
    for (const Round& round : *stream) {
      rounds += round.sends.empty() && round.receives.empty() ? 0u : 1u;
      for (const SendStep& send : round.sends) {
        const bool near = send.to.value() / per_node == position / per_node;
        (near ? result.inside : result.across) += send.data.size();
        result.messages += near ? 0u : 1u;
      }
    }
    result.rounds = std::max(result.rounds, rounds);
  }
  return result;
}

// 2 nodes of 4: what crosses is 4 blocks of each rank whatever the algorithm, but over the leader alone by 1dh; 2dh has it in one message
// in place of four and moves as much inside.
TEST(Algorithms, ExchangesCrossTheNodesAsTheirLawsSay) {
  for (const int position : {0, 1, 6}) {
    const Exchanged linear = exchanged(ExchangeAlgorithm::kLinear, 8, 4, position);
    EXPECT_EQ(std::tuple(linear.rounds, linear.inside, linear.across, linear.messages), std::tuple(1u, 300u, 400u, 4u));
    const Exchanged pairwise = exchanged(ExchangeAlgorithm::kPairwise, 8, 4, position);
    EXPECT_EQ(std::tuple(pairwise.rounds, pairwise.inside, pairwise.across, pairwise.messages),
              std::tuple(7u, 300u, 400u, 4u));
    const Exchanged pipe = exchanged(ExchangeAlgorithm::kPipe, 8, 4, position);
    EXPECT_EQ(std::tuple(pipe.rounds, pipe.inside, pipe.across, pipe.messages), std::tuple(4u, 300u, 400u, 4u));
    const Exchanged two = exchanged(ExchangeAlgorithm::kTwoLevel, 8, 4, position);
    EXPECT_EQ(std::tuple(two.rounds, two.inside, two.across, two.messages), std::tuple(2u, 600u, 400u, 1u));
    const Exchanged one = exchanged(ExchangeAlgorithm::kOneLevel, 8, 4, position);
    const bool leads = position == 0;
    EXPECT_EQ(std::tuple(one.inside, one.across, one.messages),
              leads ? std::tuple(300u + 1200u, 1600u, 1u) : std::tuple(700u, 0u, 0u));
  }
}

TEST(Algorithms, RecursiveDoublingTakesLogarithmicRounds) {
  Memory memory;
  const auto rounds = [&](int n, int position, DType type) {
    const Schedule made = recursive_doubling_all_reduce(group_of(n, position), {type, ReduceKind::kSum}, memory.bytes);
    return std::pair(message_rounds(made), sent(made));
  };
  EXPECT_EQ(rounds(8, 3, DType::kFp32), std::pair(std::size_t{3}, std::size_t{3 * 4800}));
  EXPECT_EQ(rounds(8, 3, DType::kBf16), std::pair(std::size_t{3}, std::size_t{3 * 9600}));  // FP32 on the way
  // 6 = 4 + 2: member 0 takes from 4 and gives back, member 2 does not, member 4 only hands in.
  EXPECT_EQ(rounds(6, 0, DType::kFp32), std::pair(std::size_t{4}, std::size_t{3 * 4800}));
  EXPECT_EQ(rounds(6, 2, DType::kFp32), std::pair(std::size_t{2}, std::size_t{2 * 4800}));
  EXPECT_EQ(rounds(6, 4, DType::kFp32), std::pair(std::size_t{2}, std::size_t{4800}));
}

TEST(Algorithms, BroadcastReachesEveryoneOnceDownATree) {
  Memory memory;
  for (const int n : {1, 2, 3, 5, 8}) {
    for (int root = 0; root < n; ++root) {
      std::size_t sends = 0;
      for (int position = 0; position < n; ++position) {
        const Schedule made = binomial_broadcast(group_of(n, position), root, memory.bytes);
        sends += sent(made) / memory.bytes.size();
        std::size_t receives = 0;
        for (const Round& round : made.rounds) receives += round.receives.size();
        EXPECT_EQ(receives, position == root ? 0u : 1u);
      }
      EXPECT_EQ(sends, static_cast<std::size_t>(n - 1));
    }
  }
  // The root of 8 sends to the members 4, 2 and 1 places on.
  const Schedule made = binomial_broadcast(group_of(8, 6), 6, memory.bytes);
  ASSERT_EQ(made.rounds.size(), 3u);
  EXPECT_EQ(made.rounds[0].sends[0].to, RankId(2));
  EXPECT_EQ(made.rounds[1].sends[0].to, RankId(0));
  EXPECT_EQ(made.rounds[2].sends[0].to, RankId(7));
}

TEST(Algorithms, BarrierTakesLogarithmicRounds) {
  EXPECT_EQ(dissemination_barrier(group_of(1, 0)).rounds.size(), 0u);
  EXPECT_EQ(dissemination_barrier(group_of(5, 2)).rounds.size(), 3u);
  EXPECT_EQ(dissemination_barrier(group_of(8, 2)).rounds.size(), 3u);
}

}  // namespace
}  // namespace moesim
