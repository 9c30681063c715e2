// Ranks behind one NIC: what each uses of it, as it is priced and as it is played.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/sim/step/step_testing.hpp"

namespace moesim {
namespace {

// Two nodes of two ranks with one NIC for both.
ClusterSpec nodes_with_one_nic() {
  ClusterSpec spec = small_nodes(2, 2);
  for (auto& group : spec.groups) group.node.nics->count = 1;
  return spec;
}

// Gradients of 2 x 2 ranks, TP inside the node: both ranks of a node reduce over the same NIC at once.
Program program_over_the_nic() {
  Plan plan = plan_of({.tp = 2, .dp = 2, .ep = 2, .edp = 2}, 1);
  plan.zero_dense = plan.zero_expert = ZeroStage::kNone;
  return lowered(plan, wide_moe());
}

float largest_share(const Program& program, const CostModel& costs, Folding folding) {
  PriceOptions options;
  options.folding = folding;
  float largest = 0;
  for (const PortUse& use : price(program, costs, options).replay.port_uses)
    for (const float share : use.share) largest = std::max(largest, share);
  return largest;
}

// An entity has its port to itself, so what it presses there is what all ranks behind the real one press together: a
// reduction of megabytes fills it. Half of it would let two reductions overlap for nothing.
TEST(SharedPorts, ARankPressesForAllThatShareThePort) {
  const TestCluster cluster(nodes_with_one_nic());
  const Program program = program_over_the_nic();
  const auto nic = program.layout->group(GroupKind::kDpCp, RankId(0));
  const GroupTopology& group = cluster.costs().topology(nic);
  int sharers = 0;
  for (int tier = 0; tier < group.tiers(); ++tier) sharers = std::max(sharers, group.port_sharers(tier));
  ASSERT_EQ(sharers, 2);
  for (const Folding folding : {Folding::kRoles, Folding::kEveryRank}) {
    const float share = largest_share(program, cluster.costs(), folding);
    EXPECT_GT(share, 0.8F);
    EXPECT_LE(share, 1.0F);
  }
}

}  // namespace
}  // namespace moesim
