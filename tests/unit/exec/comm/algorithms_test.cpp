#include "exec/comm/algorithms.hpp"

#include <gtest/gtest.h>

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
