#include <gtest/gtest.h>

#include "models/cost/collective.hpp"
#include "test_cluster.hpp"

namespace moesim {
namespace {

TEST(GroupTopology, SplitsAWholeCluster) {
  const ClusterView view = two_tier_view(3, 4);
  const GroupTopology group(view, rank_list(12));
  EXPECT_EQ(group.outermost_tier(), 1);
  EXPECT_EQ(group.split(0).parts, 3);
  EXPECT_EQ(group.split(0).smallest, 4);
  EXPECT_EQ(group.split(1).parts, 1);
  EXPECT_EQ(group.joined_below(0).parts, 12);
  EXPECT_EQ(group.joined_below(1).parts, 3);
  EXPECT_EQ(group.joined_below(2).parts, 1);
  EXPECT_EQ(group.peers(0), 3);
  EXPECT_EQ(group.peers(1), 8);
  EXPECT_DOUBLE_EQ(group.rank_rate(0).value(), 100e9);
  EXPECT_DOUBLE_EQ(group.rank_rate(1).value(), 10e9);
}

TEST(GroupTopology, UnevenParts) {
  const ClusterView view = two_tier_view(2, 4);
  const std::vector<RankId> ranks = {RankId(0), RankId(1), RankId(2), RankId(5)};
  const GroupTopology group(view, ranks);
  EXPECT_EQ(group.split(0).parts, 2);
  EXPECT_EQ(group.split(0).smallest, 1);
  EXPECT_EQ(group.split(0).largest, 3);
  EXPECT_EQ(group.peers(0), 2);
  EXPECT_EQ(group.peers(1), 3);
}

TEST(GroupTopology, ASharedPortIsDividedAmongAllRanksOfTheCluster) {
  const ClusterView view = two_tier_view(2, 4, 2);
  // One rank per node: its sibling group uses the same NIC at the same time.
  const GroupTopology group(view, rank_list(2, 4));
  EXPECT_DOUBLE_EQ(group.rank_rate(1).value(), 5e9);
  EXPECT_EQ(group.port_sharers(1), 2);
  EXPECT_DOUBLE_EQ(group.port_rates(1)[0].out.value(), 5e9);
}

TEST(GroupTopology, SingleRankAndOneNode) {
  const ClusterView view = two_tier_view(2, 4);
  EXPECT_EQ(GroupTopology(view, rank_list(1)).outermost_tier(), -1);
  EXPECT_EQ(GroupTopology(view, rank_list(4)).outermost_tier(), 0);
  EXPECT_EQ(GroupTopology(view, {}).size(), 0);
}

TEST(GroupTopology, RailsJoinNodesBeforeTheSpineDoes) {
  const ClusterView view = rail_view(2, 4);
  const GroupTopology group(view, rank_list(8));
  EXPECT_EQ(group.peers(0), 3);
  EXPECT_EQ(group.peers(1), 1);
  EXPECT_EQ(group.peers(2), 3);
  EXPECT_EQ(group.outermost_tier(), 2);
  EXPECT_EQ(group.split(1).parts, 4);
  EXPECT_EQ(group.joined_below(2).parts, 1);  // every node reaches the other over its rails
}

TEST(GroupTopology, PeersAgreeWithMeetingTiers) {
  for (const ClusterView& view : {two_tier_view(3, 4), rail_view(3, 4)}) {
    const std::vector<RankId> ranks = {RankId(0), RankId(1), RankId(4), RankId(6), RankId(7), RankId(9), RankId(11)};
    const GroupTopology group(view, ranks);
    for (int tier = 0; tier < group.tiers(); ++tier) {
      int most = 0;
      for (const RankId a : ranks) {
        int peers = 0;
        for (const RankId b : ranks) peers += view.meeting_tier(a, b) == tier ? 1 : 0;
        most = std::max(most, peers);
      }
      EXPECT_EQ(group.peers(tier), most) << "tier " << tier;
    }
  }
}

TEST(GroupTopology, AMeshOffersARingOnlyTheLinksToItsMembers) {
  const ClusterView view = two_tier_view(1, 5, 1, true);  // 25 GB/s per pair
  EXPECT_DOUBLE_EQ(GroupTopology(view, rank_list(5)).ring_rate(0).value(), 100e9);
  EXPECT_DOUBLE_EQ(GroupTopology(view, rank_list(2)).ring_rate(0).value(), 25e9);
}

}  // namespace
}  // namespace moesim
