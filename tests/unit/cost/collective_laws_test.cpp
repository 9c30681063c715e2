#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "models/cost/all_to_all_v_law.hpp"
#include "models/cost/cost_model.hpp"
#include "models/cost/hierarchical_law.hpp"
#include "models/cost/pairwise_law.hpp"
#include "models/cost/ring_law.hpp"
#include "models/cost/switch_law.hpp"
#include "models/cost/tree_law.hpp"
#include "test_cluster.hpp"

namespace moesim {
namespace {

constexpr Bytes kGb{1'000'000'000};

TEST(CollectiveTerms, PipelinedTransferAddsTheBestChunking) {
  EXPECT_DOUBLE_EQ(pipelined_seconds(4e-3, 1e-6), 4e-3 + 2 * std::sqrt(4e-9));
}

TEST(CollectiveTerms, ShortMessagesTakeTheQuickProtocol) {
  const ClusterView view = two_tier_view(1, 4);
  const GroupTopology group(view, rank_list(4));
  LawParameters p = round_parameters();
  p.link(LinkClass::kNvlink).long_step = Seconds(100e-6);
  // All-gather of 1 MB: 7.5 us at 100 GB/s; at half the rate 15 us, against 3 hops of 100 us more. Of 1 GB:
  // the hops.
  const CommCost quick = ring_cost(CollectiveKind::kAllGather, group, p, Bytes(1'000'000));
  EXPECT_NEAR(quick.time.value(), 3e-6 + 15e-6, 1e-12);
  EXPECT_NEAR(quick.port_share[0], 15.0 / 18.0, 1e-6);
  EXPECT_NEAR(ring_cost(CollectiveKind::kAllGather, group, p, kGb).time.value(), 3e-6 + 300e-6 + 7.5e-3, 1e-12);
}

TEST(RingLaw, OneNode) {
  const ClusterView view = two_tier_view(1, 4);
  const GroupTopology group(view, rank_list(4));
  const LawParameters p = round_parameters();
  // All-reduce passes 2*3/4 GB at 100 GB/s in 6 steps of 1 us; all-gather half of both; broadcast the whole.
  EXPECT_NEAR(ring_cost(CollectiveKind::kAllReduce, group, p, kGb).time.value(), 15e-3 + 6e-6, 1e-12);
  EXPECT_NEAR(ring_cost(CollectiveKind::kAllGather, group, p, kGb).time.value(), 7.5e-3 + 3e-6, 1e-12);
  EXPECT_NEAR(ring_cost(CollectiveKind::kReduceScatter, group, p, kGb).time.value(), 7.5e-3 + 3e-6, 1e-12);
  EXPECT_NEAR(ring_cost(CollectiveKind::kBroadcast, group, p, kGb).time.value(), 10e-3 + 3e-6, 1e-12);
}

TEST(RingLaw, EveryNicOfANodeCarriesItsShare) {
  const ClusterView view = two_tier_view(2, 4);
  const GroupTopology group(view, rank_list(8));
  // 7/8 GB pass a node's edge over 4 NICs of 10 GB/s: 21.875 ms. 8 hops round the ring, 2 across; 7 steps:
  // 7/8 * (6 * 1 + 2 * 10) us.
  const CommCost cost = ring_cost(CollectiveKind::kAllGather, group, round_parameters(), kGb);
  EXPECT_NEAR(cost.time.value(), 21.875e-3 + 22.75e-6, 1e-12);
  EXPECT_NEAR(cost.busiest_rank_bytes[1], 0.875e9 / 4, 1);
  EXPECT_NEAR(cost.busiest_rank_bytes[0], 0.875e9 * 3 / 4, 1);
  EXPECT_NEAR(cost.port_share[1], 21.875 / (21.875 + 0.02275), 1e-6);
  EXPECT_EQ(cost.bound, Bound::kNetwork);
}

TEST(RingLaw, RanksThatShareANicHalveIt) {
  const ClusterView own = two_tier_view(2, 4);
  const ClusterView shared = two_tier_view(2, 4, 2);
  const double alone =
      ring_cost(CollectiveKind::kAllGather, GroupTopology(own, rank_list(8)), round_parameters(), kGb).time.value();
  const double both =
      ring_cost(CollectiveKind::kAllGather, GroupTopology(shared, rank_list(8)), round_parameters(), kGb).time.value();
  EXPECT_NEAR(both, 2 * 21.875e-3 + 22.75e-6, 1e-12);
  EXPECT_GT(both, alone);
}

TEST(RingLaw, RailsCarryTheRing) {
  const ClusterView view = rail_view(2, 4);
  const GroupTopology group(view, rank_list(8));
  EXPECT_NEAR(ring_cost(CollectiveKind::kAllGather, group, round_parameters(), kGb).time.value(), 21.875e-3 + 22.75e-6,
              1e-12);
}

TEST(TreeLaw, TwoNodesPassTheBufferOnce) {
  const ClusterView view = two_tier_view(2, 1);
  const GroupTopology group(view, rank_list(2));
  ASSERT_TRUE(tree_applies(CollectiveKind::kAllReduce, group));
  EXPECT_FALSE(tree_applies(CollectiveKind::kAllGather, group));
  // 1 GB / 10 GB/s and 2 hops of 10 us.
  EXPECT_NEAR(tree_cost(CollectiveKind::kAllReduce, group, round_parameters(), kGb).time.value(), 0.1 + 20e-6, 1e-12);
}

TEST(TreeLaw, LogarithmicLatencyWinsForSmallSizes) {
  const ClusterView view = two_tier_view(32, 1);
  const GroupTopology group(view, rank_list(32));
  // 2 * log2(32) = 10 hops of 10 us, where the ring has 62.
  EXPECT_NEAR(tree_cost(CollectiveKind::kAllReduce, group, round_parameters(), Bytes(0)).time.value(), 100e-6, 1e-12);
  EXPECT_NEAR(ring_cost(CollectiveKind::kAllReduce, group, round_parameters(), Bytes(0)).time.value(), 620e-6, 1e-12);
  const CostModel model(view, {round_parameters()});
  CollectiveAlgorithm chosen{};
  static_cast<void>(model.collective(CollectiveKind::kAllReduce, group, Bytes(8), CollectiveAlgorithm::kAuto, &chosen));
  EXPECT_EQ(chosen, CollectiveAlgorithm::kTree);
  static_cast<void>(model.collective(CollectiveKind::kAllReduce, group, kGb, CollectiveAlgorithm::kAuto, &chosen));
  EXPECT_EQ(chosen, CollectiveAlgorithm::kRing);
}

TEST(SwitchLaw, RateDoesNotDependOnTheRanks) {
  ClusterView plain = two_tier_view(1, 8);
  EXPECT_FALSE(switch_applies(CollectiveKind::kAllReduce, GroupTopology(plain, rank_list(8))));  // Ampere
  DeviceSpec hopper = round_device();
  hopper.arch = DeviceArch::kHopper;
  const ClusterView view({hopper}, std::vector<std::int32_t>(8, 0), std::vector<double>(8, 1),
                         std::vector<std::int32_t>(8, 0), {plain.tier(0), plain.tier(1)});
  for (const int ranks : {4, 8}) {
    const GroupTopology group(view, rank_list(ranks));
    ASSERT_TRUE(switch_applies(CollectiveKind::kAllReduce, group));
    // 1 GB at half of 100 GB/s.
    EXPECT_NEAR(switch_cost(group, round_parameters(), kGb).time.value(), 20e-3, 1e-12);
  }
  EXPECT_FALSE(switch_applies(CollectiveKind::kAllReduce, GroupTopology(view, rank_list(2))));
}

TEST(HierarchicalLaw, PhasesFollowOneAnother) {
  const ClusterView view = two_tier_view(4, 4);
  const GroupTopology group(view, rank_list(16));
  const LawParameters p = round_parameters();
  ASSERT_TRUE(hierarchical_applies(CollectiveKind::kAllReduce, group));
  // Inside 2*3/4 GB at 100 GB/s = 15 ms; across 2*3/4 * 1/4 GB at 10 GB/s = 37.5 ms; 2 * (3 + 30) us.
  EXPECT_NEAR(hierarchical_cost(CollectiveKind::kAllReduce, group, p, kGb).time.value(), 15e-3 + 37.5e-3 + 66e-6,
              1e-12);
  EXPECT_NEAR(hierarchical_cost(CollectiveKind::kAllGather, group, p, kGb).time.value(), 7.5e-3 + 18.75e-3 + 33e-6,
              1e-12);
  // All-to-all: 3/4 GB inside, 3/4 GB across.
  EXPECT_NEAR(hierarchical_cost(CollectiveKind::kAllToAll, group, p, kGb).time.value(), 7.5e-3 + 75e-3 + 33e-6, 1e-12);
  const std::vector<RankId> uneven = {RankId(0), RankId(1), RankId(4)};
  EXPECT_FALSE(hierarchical_applies(CollectiveKind::kAllGather, GroupTopology(view, uneven)));
}

TEST(PairwiseLaw, BusiestTierDecides) {
  const ClusterView view = two_tier_view(2, 4);
  const GroupTopology group(view, rank_list(8));
  // 1/8 GB per pair, 4 peers across one's own NIC: 0.5 GB / 10 GB/s = 50 ms; 3 peers at 1 us, 4 at 10 us.
  const CommCost cost = pairwise_cost(group, round_parameters(), kGb);
  EXPECT_NEAR(cost.time.value(), 50e-3 + 43e-6, 1e-12);
  EXPECT_DOUBLE_EQ(cost.busiest_rank_bytes[0], 0.375e9);
  EXPECT_DOUBLE_EQ(cost.busiest_rank_bytes[1], 0.5e9);
}

TEST(PairwiseLaw, SendRecv) {
  const ClusterView view = two_tier_view(2, 4);
  EXPECT_NEAR(send_recv_cost(GroupTopology(view, rank_list(2)), round_parameters(), kGb).time.value(), 10e-3 + 1e-6,
              1e-12);
  EXPECT_NEAR(send_recv_cost(GroupTopology(view, rank_list(2, 4)), round_parameters(), kGb).time.value(), 0.1 + 10e-6,
              1e-12);
  const ClusterView mesh = two_tier_view(1, 5, 1, true);
  EXPECT_NEAR(send_recv_cost(GroupTopology(mesh, rank_list(2)), round_parameters(), kGb).time.value(), 40e-3 + 1e-6,
              1e-12);
}

CommCost matrix_cost(const GroupTopology& group, const std::vector<std::int64_t>& bytes) {
  const ExchangeLoad load = exchange_load(group, {.bytes = bytes, .ranks = group.size()});
  return all_to_all_v_cost(group, round_parameters(), load, Bytes(1));
}

TEST(AllToAllV, BusiestPortDecidesEitherWay) {
  const ClusterView view = two_tier_view(1, 3);
  const GroupTopology group(view, rank_list(3));
  // Rank 2 receives 1 + 2 GB at 100 GB/s; the diagonal is free. 2 peers.
  const std::vector<std::int64_t> bytes = {7'000'000'000, 0, 1'000'000'000, 0, 0, 2'000'000'000, 0, 0, 0};
  EXPECT_NEAR(matrix_cost(group, bytes).time.value(), 30e-3 + 2e-6, 1e-12);
}

TEST(AllToAllV, UnitsOfSeveralBytesAreAMatrixOfBytes) {
  const ClusterView view = two_tier_view(2, 2, 2);
  const GroupTopology group(view, rank_list(4));
  std::vector<std::int64_t> rows(16);
  std::vector<std::int64_t> bytes(16);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    rows[i] = static_cast<std::int64_t>(i * i % 7) * 1000;
    bytes[i] = rows[i] * 4096;
  }
  const ExchangeLoad load = exchange_load(group, {.bytes = rows, .ranks = 4});
  const CommCost scaled = all_to_all_v_cost(group, round_parameters(), load, Bytes(4096));
  EXPECT_NEAR(scaled.time.value(), matrix_cost(group, bytes).time.value(), 1e-15);
  EXPECT_EQ(scaled.busiest_rank_bytes, matrix_cost(group, bytes).busiest_rank_bytes);
}

TEST(AllToAllV, SharedPortsAddUp) {
  const ClusterView view = two_tier_view(2, 2, 2);
  const GroupTopology group(view, rank_list(4));
  // Ranks 0 and 1 send 1 GB each to node 1 through one NIC of 10 GB/s: 200 ms; 1 near peer, 2 far: 21 us.
  std::vector<std::int64_t> bytes(16, 0);
  bytes[0 * 4 + 2] = 1'000'000'000;
  bytes[1 * 4 + 3] = 1'000'000'000;
  EXPECT_NEAR(matrix_cost(group, bytes).time.value(), 0.2 + 21e-6, 1e-12);
}

TEST(AllToAllV, AMeshIsLimitedByItsBusiestPair) {
  const ClusterView view = two_tier_view(1, 5, 1, true);  // 25 GB/s per pair
  std::vector<std::int64_t> bytes(25, 0);
  bytes[1] = 1'000'000'000;
  EXPECT_NEAR(matrix_cost(GroupTopology(view, rank_list(5)), bytes).time.value(), 40e-3 + 4e-6, 1e-12);
}

TEST(AllToAllV, UniformMatrixEqualsTheUniformLaw) {
  for (const ClusterView& view :
       {two_tier_view(4, 4), two_tier_view(4, 4, 2), rail_view(4, 4), two_tier_view(1, 16, 1, true)}) {
    for (const auto& ranks : {rank_list(16), rank_list(4, 4), rank_list(5, 3), rank_list(2)}) {
      const GroupTopology group(view, ranks);
      const std::int64_t per_pair = 3'000'000;
      const std::vector<std::int64_t> bytes(ranks.size() * ranks.size(), per_pair);
      const CommCost uniform = pairwise_cost(group, round_parameters(), Bytes(per_pair * group.size()));
      const CommCost matrix = matrix_cost(group, bytes);
      EXPECT_NEAR(matrix.time.value(), uniform.time.value(), 1e-12);
      for (std::size_t tier = 0; tier < 3; ++tier) {
        EXPECT_NEAR(matrix.port_share[tier], uniform.port_share[tier], 1e-6);
        EXPECT_DOUBLE_EQ(matrix.busiest_rank_bytes[tier], uniform.busiest_rank_bytes[tier]);
      }
    }
  }
}

TEST(AllToAllV, RenamingRanksChangesNothing) {
  const ClusterView view = rail_view(3, 4);
  std::mt19937 random(7);
  std::vector<RankId> ranks = rank_list(12);
  std::vector<std::int64_t> bytes;
  for (int i = 0; i < 144; ++i) bytes.push_back(static_cast<std::int64_t>(random() % 100'000'000));
  const double expected = matrix_cost(GroupTopology(view, ranks), bytes).time.value();
  for (int round = 0; round < 20; ++round) {
    std::vector<std::size_t> order(12);
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), random);
    std::vector<RankId> renamed;
    std::vector<std::int64_t> moved(144);
    for (std::size_t i = 0; i < 12; ++i) {
      renamed.push_back(ranks[order[i]]);
      for (std::size_t j = 0; j < 12; ++j) moved[i * 12 + j] = bytes[order[i] * 12 + order[j]];
    }
    EXPECT_DOUBLE_EQ(matrix_cost(GroupTopology(view, renamed), moved).time.value(), expected);
  }
}

}  // namespace
}  // namespace moesim
