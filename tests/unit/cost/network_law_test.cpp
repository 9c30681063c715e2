#include "models/cost/network_law.hpp"

#include <gtest/gtest.h>

#include "models/cost/cost_model.hpp"
#include "models/cost/ring_law.hpp"
#include "test_cluster.hpp"
#include "tests/unit/cluster/cluster_testing.hpp"

namespace moesim {
namespace {

ClusterView reducing_view(int nodes, int on_node) {
  const ClusterView plain = two_tier_view(nodes, on_node);
  std::vector<Tier> tiers(plain.tiers().begin(), plain.tiers().end());
  tiers[1].reduces = true;
  std::vector<std::int32_t> node_of_rank;
  for (int rank = 0; rank < plain.ranks(); ++rank) node_of_rank.push_back(rank / on_node);
  return {{round_device()},
          std::vector<std::int32_t>(node_of_rank.size(), 0),
          std::vector<double>(node_of_rank.size(), 1.0),
          node_of_rank,
          tiers};
}

TEST(NetworkLaw, FourNodesOfTwo) {
  const ClusterView view = reducing_view(4, 2);
  const GroupTopology group(view, rank_list(8));
  ASSERT_TRUE(network_applies(CollectiveKind::kAllReduce, group));
  // 1 GB inside at 100 GB/s, 2 hops of 1 us; half of it across at 10 GB/s, 2 hops of 10 us.
  const CommCost cost = network_cost(group, round_parameters(), Bytes(1'000'000'000));
  EXPECT_NEAR(cost.time.value(), 10e-3 + 2e-6 + 50e-3 + 20e-6, 1e-12);
  EXPECT_DOUBLE_EQ(cost.busiest_rank_bytes[1], 0.5e9);
  // A ring sends 2 * 7/8 / 2 GB over each NIC.
  const CommCost ring = ring_cost(CollectiveKind::kAllReduce, group, round_parameters(), Bytes(1'000'000'000));
  EXPECT_DOUBLE_EQ(ring.busiest_rank_bytes[1], 0.875e9);
}

TEST(NetworkLaw, OnlyWhereTheClusterSaysSo) {
  const ClusterView plain = two_tier_view(4, 2);
  EXPECT_FALSE(network_applies(CollectiveKind::kAllReduce, GroupTopology(plain, rank_list(8))));
  const ClusterView view = reducing_view(4, 2);
  EXPECT_FALSE(network_applies(CollectiveKind::kAllGather, GroupTopology(view, rank_list(8))));
  EXPECT_FALSE(network_applies(CollectiveKind::kAllReduce, GroupTopology(view, rank_list(2))));  // one node
  EXPECT_FALSE(network_applies(CollectiveKind::kAllReduce, GroupTopology(view, rank_list(3))));  // nodes of 2 and 1
  // Asked for where there is none, it is priced as the library would choose.
  const CostModel model(plain, {round_parameters()});
  CollectiveAlgorithm chosen = CollectiveAlgorithm::kAuto;
  static_cast<void>(model.collective(CollectiveKind::kAllReduce, GroupTopology(plain, rank_list(8)), Bytes(1000),
                                     CollectiveAlgorithm::kNetwork, &chosen));
  EXPECT_NE(chosen, CollectiveAlgorithm::kNetwork);
}

TEST(NetworkLaw, AClusterFileSaysWhichLevelsReduce) {
  const std::string text = R"({"name": "sharp", "nodes": 4,
    "node": {"device": "A100-80GB", "devices": 2,
             "scale_up": {"kind": "nvswitch", "bandwidth": "100GB/s", "latency": "0us"},
             "nics": {"count": 2, "bandwidth": "10GB/s", "latency": "0us"}},
    "network": [{"name": "leaf", "nodes": 2, "latency": "0us", "reduces": true}, {"name": "spine", "latency": "0us"}]})";
  const auto leaves = view_from(text);
  ASSERT_TRUE(leaves) << leaves.error().what;
  EXPECT_FALSE(leaves->tier(0).reduces);
  EXPECT_TRUE(leaves->tier(1).reduces);
  EXPECT_FALSE(leaves->tier(2).reduces);
  EXPECT_TRUE(network_applies(CollectiveKind::kAllReduce, GroupTopology(*leaves, rank_list(4))));
  EXPECT_FALSE(network_applies(CollectiveKind::kAllReduce, GroupTopology(*leaves, rank_list(8))));
}

}  // namespace
}  // namespace moesim
