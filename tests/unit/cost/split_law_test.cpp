#include "models/cost/split_law.hpp"

#include <gtest/gtest.h>

#include <numeric>
#include <random>

#include "models/cost/flows/cluster_flows.hpp"
#include "test_cluster.hpp"
#include "tests/unit/cluster/cluster_testing.hpp"

namespace moesim {
namespace {

const std::vector<SplitLink> kTwoLinks = {{Seconds(10e-6), BytesPerSecond(100e9)},
                                          {Seconds(30e-6), BytesPerSecond(50e9)}};

TEST(SplitLaw, TwoLinksEndTogether) {
  const Split split = best_split(kTwoLinks, Bytes(9'000'000));
  EXPECT_NEAR(split.time.value(), 11.5e6 / 150e9, 1e-15);
  EXPECT_NEAR(split.shares[0], (11.5e6 / 150e9 - 10e-6) * 100e9 / 9e6, 1e-12);  // 0.7407
  EXPECT_NEAR(split.shares[1], 0.2593, 1e-4);
  EXPECT_NEAR(split_time(kTwoLinks, Bytes(9'000'000), split.shares).value(), split.time.value(), 1e-15);
}

TEST(SplitLaw, AShortMessageLeavesTheSlowStarterOut) {
  const Split split = best_split(kTwoLinks, Bytes(1'000'000));
  EXPECT_NEAR(split.time.value(), 20e-6, 1e-15);
  EXPECT_NEAR(split.shares[0], 1, 1e-12);
  EXPECT_EQ(split.shares[1], 0);
  EXPECT_EQ(best_split(kTwoLinks, Bytes(0)).shares, (std::vector<double>{1, 0}));
}

// No shares on a fine mesh are better, and the best add up to one.
TEST(SplitLaw, NoOtherSharesAreFaster) {
  std::mt19937 random(4);
  for (int round = 0; round < 100; ++round) {
    std::vector<SplitLink> links;
    for (int i = 0; i < 3; ++i)
      links.push_back({Seconds(1e-6 * static_cast<double>(random() % 50)),
                       BytesPerSecond(1e9 * static_cast<double>(1 + random() % 100))});
    const Bytes size(static_cast<std::int64_t>(random() % 5'000'000));
    const Split best = best_split(links, size);
    EXPECT_NEAR(std::accumulate(best.shares.begin(), best.shares.end(), 0.0), 1, 1e-9);
    for (int a = 0; a <= 20; ++a)
      for (int b = 0; a + b <= 20; ++b) {
        const std::vector<double> shares = {a / 20.0, b / 20.0, (20 - a - b) / 20.0};
        EXPECT_GE(split_time(links, size, shares).value() * (1 + 1e-9), best.time.value());
      }
  }
}

// A node of two with NVLink of 30 GB/s and a NIC of 10 GB/s for each: the worked example.
TEST(SplitLaw, FindsTheWaysBetweenRanks) {
  const auto spec = spec_from(R"({"name": "two ways", "nodes": 1,
    "node": {"device": "A100-80GB", "devices": 2,
             "scale_up": {"kind": "nvswitch", "bandwidth": "30GB/s", "latency": "0us"},
             "nics": {"count": 2, "bandwidth": "10GB/s", "latency": "0us"}},
    "network": [{"name": "switch", "latency": "0us"}]})");
  ASSERT_TRUE(spec) << spec.error().what;
  const LinkPaths links = compile_links(*spec).value();
  const std::vector<SplitChannel> ways = split_channels(links, rank_list(2), round_parameters());
  ASSERT_EQ(ways.size(), 2u);
  EXPECT_EQ(ways[0].link, LinkClass::kNvlink);
  EXPECT_DOUBLE_EQ(ways[0].all_reduce.rate.value(), 30e9);  // of two ranks each passes the buffer once
  EXPECT_DOUBLE_EQ(ways[0].all_reduce.start.value(), 2e-6);
  EXPECT_EQ(ways[1].link, LinkClass::kNic);
  EXPECT_DOUBLE_EQ(ways[1].all_reduce.start.value(), 20e-6);
  const std::vector<SplitLink> both = {ways[0].all_reduce, ways[1].all_reduce};
  const Split split = best_split(both, Bytes(4'000'000'000));
  EXPECT_NEAR(split.shares[1], 0.25, 1e-3);
  // As flows the two parts do end together.
  const ClusterView view = compile(*spec).value();
  ClusterFlows flows(view, links);
  const std::vector<ClusterFlows::Stripe> stripes = {{ways[0].level, 0.75}, {ways[1].level, 0.25}};
  flows.add_striped(RankId(0), RankId(1), Bytes(4'000'000'000), stripes, Seconds(0));
  EXPECT_NEAR(flows.play().end.value(), 0.1, 1e-12);
}

// PCIe and NIC behind one PCIe link of the device: the slower of the two would take from the faster.
TEST(SplitLaw, WaysOverOneLinkCountOnce) {
  const auto spec = spec_from(R"({"name": "pcie", "nodes": 1,
    "node": {"device": "A100-80GB", "devices": 2,
             "scale_up": {"kind": "nvswitch", "bandwidth": "30GB/s", "latency": "0us"},
             "pcie": {"bandwidth": "20GB/s", "latency": "0us", "devices_per_switch": 1, "uplink_bandwidth": "20GB/s"},
             "nics": {"count": 2, "bandwidth": "10GB/s", "latency": "0us"}},
    "network": [{"name": "switch", "latency": "0us"}]})");
  ASSERT_TRUE(spec) << spec.error().what << spec.error().where;
  const LinkPaths links = compile_links(*spec).value();
  const std::vector<SplitChannel> ways = split_channels(links, rank_list(2), round_parameters());
  ASSERT_EQ(ways.size(), 2u);
  EXPECT_EQ(ways[0].link, LinkClass::kNvlink);
  EXPECT_EQ(ways[1].link, LinkClass::kPcie);
}

}  // namespace
}  // namespace moesim
