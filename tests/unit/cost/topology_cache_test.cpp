#include "models/cost/topology_cache.hpp"

#include <gtest/gtest.h>

#include <string>

#include "models/cluster/cluster_source.hpp"
#include "test_cluster.hpp"

namespace moesim {
namespace {

std::vector<RankId> strided(int first, int stride, int count) {
  std::vector<RankId> ranks;
  for (int i = 0; i < count; ++i) ranks.emplace_back(first + i * stride);
  return ranks;
}

void expect_alike(const GroupTopology& a, const GroupTopology& b) {
  ASSERT_EQ(a.size(), b.size());
  ASSERT_EQ(a.outermost_tier(), b.outermost_tier());
  for (int tier = 0; tier < a.tiers(); ++tier) {
    EXPECT_EQ(a.split(tier).parts, b.split(tier).parts);
    EXPECT_EQ(a.split(tier).smallest, b.split(tier).smallest);
    EXPECT_EQ(a.split(tier).largest, b.split(tier).largest);
    EXPECT_EQ(a.joined_below(tier).parts, b.joined_below(tier).parts);
    EXPECT_EQ(a.rank_rate(tier), b.rank_rate(tier));
    EXPECT_EQ(a.ring_rate(tier), b.ring_rate(tier));
    EXPECT_EQ(a.port_sharers(tier), b.port_sharers(tier));
    EXPECT_EQ(a.peers(tier), b.peers(tier));
    EXPECT_EQ(a.exchange_seconds_per_byte(tier), b.exchange_seconds_per_byte(tier));
    for (int i = 0; i < a.size(); ++i) {
      const auto x = a.members(tier, i);
      const auto y = b.members(tier, i);
      EXPECT_TRUE(std::equal(x.begin(), x.end(), y.begin(), y.end()));
    }
  }
}

TEST(ClusterPeriod, IsTheNodeWhereNodesAreAlike) {
  EXPECT_EQ(two_tier_view(4, 4).period(), 4);
  EXPECT_EQ(two_tier_view(4, 4, 2).period(), 4);
  // A switch for all: every rank is as any other.
  EXPECT_EQ(two_tier_view(1, 8).period(), 1);
}

TEST(ClusterPeriod, IsTheClusterWhereNothingRepeats) {
  ClusterSpec mixed = load_cluster("preset:h100", 2).value();
  mixed.groups.push_back(load_cluster("preset:a100", 2).value().groups.front());
  const auto view = compile(mixed);
  ASSERT_TRUE(view.has_value()) << view.error().what;
  EXPECT_EQ(view->period(), view->ranks());
}

// Whatever is looked up is what would have been worked out for these very ranks.
TEST(TopologyCache, GivesEveryGroupItsOwnTopology) {
  for (const std::string preset : {"preset:h800", "preset:gb200-nvl72", "preset:rtx3090", "preset:mi300x"}) {
    const auto spec = load_cluster(preset, 8);
    ASSERT_TRUE(spec.has_value()) << preset;
    const ClusterView view = compile(*spec).value();
    TopologyCache cache(view);
    for (const int stride : {1, 2, 4, 8, 16})
      for (const int count : {1, 2, 3, 8})
        for (int first = 0; first + stride * (count - 1) < view.ranks(); first += 3) {
          const std::vector<RankId> ranks = strided(first, stride, count);
          expect_alike(cache.of(ranks), GroupTopology(view, ranks));
          if (HasFailure()) FAIL() << preset << ": " << count << " ranks from " << first << " by " << stride;
        }
  }
}

TEST(TopologyCache, GroupsThatLookAlikeShareOne) {
  const ClusterView view = two_tier_view(4, 4);
  TopologyCache cache(view);
  EXPECT_EQ(&cache.of(strided(0, 2, 2)), &cache.of(strided(8, 2, 2)));
  EXPECT_NE(&cache.of(strided(0, 2, 2)), &cache.of(strided(1, 2, 2)));
  EXPECT_NE(&cache.of(strided(0, 2, 2)), &cache.of(strided(0, 1, 2)));
}

}  // namespace
}  // namespace moesim
