#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>

#include "models/cost/flows/cluster_flows.hpp"
#include "models/cost/flows/flow_loads.hpp"
#include "test_cluster.hpp"
#include "tests/unit/cluster/cluster_testing.hpp"

namespace moesim {
namespace {

constexpr std::int64_t kFlowGigabyte = 1'000'000'000;

struct Network {
  ClusterView view;
  LinkPaths links;
};
Network network_of(const std::string& text) {
  const auto spec = spec_from(text);
  EXPECT_TRUE(spec.has_value()) << spec.error().what;
  return {compile(*spec).value(), compile_links(*spec).value()};
}

// Ranks with one NIC of 10 GB/s each behind one switch.
Network star(int ranks) {
  return network_of(R"({"name": "star", "nodes": )" + std::to_string(ranks) + R"(,
    "node": {"device": "A100-80GB", "devices": 1, "nics": {"count": 1, "bandwidth": "10GB/s", "latency": "0us"}},
    "network": [{"name": "switch", "latency": "0us"}]})");
}

// Nodes of two ranks with 100 GB/s inside, which share one NIC of 10 GB/s.
Network shared_nics(int nodes) {
  return network_of(R"({"name": "shared", "nodes": )" + std::to_string(nodes) + R"(,
    "node": {"device": "A100-80GB", "devices": 2,
             "scale_up": {"kind": "nvswitch", "bandwidth": "100GB/s", "latency": "0us"},
             "nics": {"count": 1, "bandwidth": "10GB/s", "latency": "0us"}},
    "network": [{"name": "switch", "latency": "0us"}]})");
}

std::vector<std::int64_t> uniform_bytes(int ranks, std::int64_t each) {
  return std::vector<std::int64_t>(static_cast<std::size_t>(ranks * ranks), each);
}

ClusterFlows::Outcome played(const Network& network, const std::vector<std::int64_t>& bytes) {
  ClusterFlows flows(network.view, network.links);
  const auto ranks = rank_list(network.view.ranks());
  flows.add_exchange(ranks, {bytes, network.view.ranks()}, Seconds(0));
  return flows.play();
}

TEST(LinkPaths, LeadOutwards) {
  const Network two = shared_nics(2);
  ASSERT_EQ(two.links.level_of_tier.size(), 2u);
  const int near = two.links.level_of_tier[0];
  const int far = two.links.level_of_tier[1];
  ASSERT_EQ(two.links.path(near, RankId(0)).size(), 1u);
  const ClusterLink& inside = two.links.links[static_cast<std::size_t>(two.links.path(near, RankId(0))[0])];
  EXPECT_DOUBLE_EQ(inside.rate.out.value(), 100e9);
  EXPECT_EQ(inside.users, 1);
  const ClusterLink& last = two.links.links[static_cast<std::size_t>(two.links.path(far, RankId(0)).back())];
  EXPECT_DOUBLE_EQ(last.rate.out.value(), 10e9);
  EXPECT_EQ(last.users, 2);
  EXPECT_TRUE(two.links.meet(near, RankId(0), RankId(1)));
  EXPECT_FALSE(two.links.meet(near, RankId(1), RankId(2)));
  EXPECT_TRUE(two.links.meet(far, RankId(1), RankId(2)));
  EXPECT_EQ(two.links.path(far, RankId(0)).back(), two.links.path(far, RankId(1)).back());
}

TEST(ClusterFlows, AllToAllOverAStarTakesThePortBound) {
  for (const int ranks : {2, 3, 8, 32}) {
    const auto outcome = played(star(ranks), uniform_bytes(ranks, kFlowGigabyte));
    EXPECT_NEAR(outcome.end.value(), (ranks - 1) * 0.1, 1e-12 * ranks);
    EXPECT_EQ(outcome.flows, ranks * (ranks - 1));
    EXPECT_EQ(outcome.batches, 1);  // and one event for its start, one for its end
    EXPECT_EQ(outcome.events, 2);
  }
}

// 0 sends 1 GB to 1 and to 2, 1 sends 1 GB to 2: the worked example of the header.
TEST(ClusterFlows, SkewedMatrix) {
  const Network three = star(3);
  std::vector<std::int64_t> bytes(9, 0);
  bytes[1] = bytes[2] = bytes[5] = kFlowGigabyte;
  EXPECT_NEAR(played(three, bytes).end.value(), 0.2, 1e-12);
  // With 3 GB from 0 to 2: out of 0 and into 2 5 GB/s for each at first. 1 GB from 0 to 1 and from 1 to 2 end at 0.2 s, then 2 GB at
  // 10 GB/s: 0.4 s, the bound of 0's port.
  bytes[2] = 3 * kFlowGigabyte;
  EXPECT_NEAR(played(three, bytes).end.value(), 0.4, 1e-12);
}

// What one busiest port cannot see: ports of 1 and 2 free up one after the other.
TEST(ClusterFlows, MayTakeLongerThanTheBusiestPort) {
  const Network four = star(4);
  std::vector<std::int64_t> bytes(16, 0);
  const auto set = [&](int from, int to, std::int64_t gigabytes) {
    bytes[static_cast<std::size_t>(from * 4 + to)] = gigabytes * kFlowGigabyte;
  };
  set(0, 1, 2);
  set(2, 1, 1);
  set(2, 3, 2);
  // Rates 5, 5, 5 until 2->1 ends at 0.2 s; 1 GB each is left, at 10 GB/s: 0.3 s, as the ports of 0..3 need 0.2, 0.3, 0.3, 0.2.
  EXPECT_NEAR(played(four, bytes).end.value(), 0.3, 1e-12);
  set(0, 3, 2);
  // Now 0 sends 4 GB, 3 gets 4 GB: bound 0.4 s. Four flows of 5 GB/s; 2->1 ends at 0.2 s; 0->1 goes on at 5 beside 0->3, and 2->3
  // beside 0->3: all end at 0.4 s.
  EXPECT_NEAR(played(four, bytes).end.value(), 0.4, 1e-12);
  set(3, 1, 4);
  // Into 1 three flows at 3.33: 0->3 and 2->3 at 5 each fill 3; 7 GB into 1 need 0.7 s, and it takes just that.
  EXPECT_NEAR(played(four, bytes).end.value(), 0.7, 1e-9);
}

TEST(ClusterFlows, RanksBehindOneNicShareIt) {
  const Network two = shared_nics(2);
  ClusterFlows flows(two.view, two.links);
  const auto first =
      static_cast<std::size_t>(flows.add_message(RankId(0), RankId(2), Bytes(kFlowGigabyte), Seconds(0)));
  const auto second =
      static_cast<std::size_t>(flows.add_message(RankId(1), RankId(3), Bytes(kFlowGigabyte), Seconds(0)));
  const auto inside =
      static_cast<std::size_t>(flows.add_message(RankId(0), RankId(1), Bytes(kFlowGigabyte), Seconds(0)));
  const auto outcome = flows.play();
  EXPECT_NEAR(outcome.ends[first].value(), 0.2, 1e-12);
  EXPECT_NEAR(outcome.ends[second].value(), 0.2, 1e-12);
  EXPECT_NEAR(outcome.ends[inside].value(), 0.01, 1e-12);
  EXPECT_EQ(outcome.flows, 3);
}

TEST(ClusterFlows, TwoCollectivesOnOneLink) {
  const Network eight = star(8);
  const std::vector<RankId> ranks = rank_list(8);
  const auto bytes = uniform_bytes(8, kFlowGigabyte);
  ClusterFlows flows(eight.view, eight.links);
  // Alone 0.7 s each. The second begins at 0.35 s: both have half the rate until the first ends at 1.05 s, and 0.35 s are left.
  flows.add_exchange(ranks, {bytes, 8}, Seconds(0));
  flows.add_exchange(ranks, {bytes, 8}, Seconds(0.35));
  const auto outcome = flows.play();
  EXPECT_NEAR(outcome.ends[0].value(), 1.05, 1e-9);
  EXPECT_NEAR(outcome.ends[1].value(), 1.4, 1e-9);
  EXPECT_EQ(outcome.batches, 2);
}

TEST(ClusterFlows, AStripedMessageHasTheSumOfItsLinks) {
  const Network two = network_of(R"({"name": "striped", "nodes": 1,
    "node": {"device": "A100-80GB", "devices": 2,
             "scale_up": {"kind": "nvswitch", "bandwidth": "30GB/s", "latency": "0us"},
             "nics": {"count": 2, "bandwidth": "10GB/s", "latency": "0us"}},
    "network": [{"name": "switch", "latency": "0us"}]})");
  // The switch behind the NICs is no tier, as all have met before, but it is a way.
  ASSERT_EQ(two.view.tiers().size(), 1u);
  ASSERT_EQ(two.links.levels(), 2);
  ClusterFlows flows(two.view, two.links);
  const std::vector<ClusterFlows::Stripe> parts = {{0, 0.75}, {1, 0.25}};
  flows.add_striped(RankId(0), RankId(1), Bytes(4 * kFlowGigabyte), parts, Seconds(0));
  EXPECT_NEAR(flows.play().end.value(), 0.1, 1e-12);
}

// Direct links of 10 GB/s per pair below ports of 30: a pair has its own link and no more.
TEST(ClusterFlows, AMeshLimitsEachPair) {
  const Network four = network_of(R"({"name": "mesh", "nodes": 1,
    "node": {"device": "A100-80GB", "devices": 4,
             "scale_up": {"kind": "mesh", "bandwidth": "30GB/s", "pair_bandwidth": "10GB/s", "latency": "0us"}}})");
  EXPECT_NEAR(played(four, uniform_bytes(4, kFlowGigabyte)).end.value(), 0.1, 1e-12);
  std::vector<std::int64_t> one(16, 0);
  one[1] = kFlowGigabyte;
  EXPECT_NEAR(played(four, one).end.value(), 0.1, 1e-12);
  // Two exchanges at once share the pairs' links.
  ClusterFlows flows(four.view, four.links);
  const auto bytes = uniform_bytes(4, kFlowGigabyte);
  flows.add_exchange(rank_list(4), {bytes, 4}, Seconds(0));
  flows.add_exchange(rank_list(4), {bytes, 4}, Seconds(0));
  EXPECT_NEAR(flows.play().end.value(), 0.2, 1e-12);
  ClusterFlows messages(four.view, four.links);
  messages.add_message(RankId(0), RankId(1), Bytes(kFlowGigabyte), Seconds(0));
  messages.add_message(RankId(0), RankId(1), Bytes(kFlowGigabyte), Seconds(0));
  messages.add_message(RankId(0), RankId(2), Bytes(kFlowGigabyte), Seconds(0));
  const auto outcome = messages.play();
  EXPECT_NEAR(outcome.ends[1].value(), 0.2, 1e-12);
  EXPECT_NEAR(outcome.ends[2].value(), 0.1, 1e-12);
}

// Every rank of the cluster is as busy: a group of every other rank has half of each shared NIC.
TEST(FlowLoads, SharesLinksAsTheLawDoes) {
  const Network four = shared_nics(4);
  const GroupTopology group(four.view, rank_list(4, 2));
  const LawParameters parameters = round_parameters();
  const auto bytes = uniform_bytes(4, kFlowGigabyte);
  const ExchangeLoad load = FlowLoads(four.links, parameters).of(group, ByteMatrix{bytes, 4});
  EXPECT_NEAR(load.flow_seconds, 3e9 / 5e9, 1e-12);
  EXPECT_NEAR(load.flow_seconds, load.port_seconds[1], 1e-12);
}

TEST(FlowLoads, CostModelPricesByFlows) {
  const Network eight = star(8);
  CostModel model(eight.view, {round_parameters()});
  const GroupTopology& group = model.topology(rank_list(8));
  const auto even = uniform_bytes(8, kFlowGigabyte);
  const auto time = [&](ExchangeAlgorithm algorithm, const std::vector<std::int64_t>& bytes) {
    return model.exchange(group, model.exchange_work(algorithm, group, {bytes, 8}), Bytes(2)).time.value();
  };
  std::vector<double> by_ports;
  for (const ExchangeAlgorithm algorithm : exchange_algorithms()) by_ports.push_back(time(algorithm, even));
  EXPECT_EQ(model.regime(), ExchangeRegime::kPorts);
  model.use_flows(std::make_shared<const LinkPaths>(eight.links));
  EXPECT_EQ(model.regime(), ExchangeRegime::kFlows);
  for (std::size_t i = 0; i < by_ports.size(); ++i)
    EXPECT_NEAR(time(exchange_algorithms()[i], even), by_ports[i], 1e-9 * by_ports[i]);
}

// Flows end no sooner than the busiest port, and batches by colour give what every flow by itself gives.
TEST(ClusterFlows, BatchesAreExact) {
  std::mt19937 random(9);
  const Network six = shared_nics(3);
  for (int round = 0; round < 20; ++round) {
    std::vector<std::int64_t> bytes;
    // Few sizes, so that some flows are alike.
    for (int i = 0; i < 36; ++i) bytes.push_back(static_cast<std::int64_t>(random() % 3) * kFlowGigabyte);
    const auto batched = played(six, bytes);
    // A byte more or less sets every flow apart, and changes next to nothing.
    std::vector<std::int64_t> apart = bytes;
    for (std::size_t i = 0; i < apart.size(); ++i)
      if (apart[i] > 0) apart[i] += static_cast<std::int64_t>(i);
    const auto each = played(six, apart);
    EXPECT_LE(batched.batches, each.batches);
    EXPECT_NEAR(batched.end.value(), each.end.value(), 1e-6 * each.end.value());
    const GroupTopology group(six.view, rank_list(6));
    const ExchangeLoad ports = PortLoads().of(group, ByteMatrix{bytes, 6});
    EXPECT_GE(batched.end.value() * (1 + 1e-9),
              *std::max_element(ports.port_seconds.begin(), ports.port_seconds.end()));
  }
}

}  // namespace
}  // namespace moesim
