#include <gmock/gmock.h>

#include <cmath>

#include "tests/unit/cluster/cluster_testing.hpp"

namespace moesim {
namespace {

using testing::ElementsAre;

constexpr double kGB = 1e9;

const std::string kRails = R"({
  "name": "two H100 nodes", "nodes": 2,
  "node": {"device": "H100", "devices": 8,
           "scale_up": {"kind": "nvswitch", "bandwidth": "450GB/s", "latency": "700ns"},
           "nics": {"count": 8, "bandwidth": "400Gbit/s", "latency": "600ns"}},
  "network": [{"name": "nic", "nodes": 2, "rails": true, "latency": "100ns"},
              {"name": "spine", "latency": "200ns"}]})";

// The worked example of cluster_view.hpp.
TEST(Compile, TwoNodesOfEightOnRails) {
  const auto view = view_from(kRails);
  ASSERT_TRUE(view) << view.error().what;
  EXPECT_EQ(view->ranks(), 16);
  EXPECT_EQ(view->nodes(), 2);
  EXPECT_EQ(view->ranks_per_node(), 8);
  EXPECT_EQ(view->domain_size(RankId(9)), 8);
  EXPECT_EQ(view->node(RankId(8)), NodeId(1));
  ASSERT_EQ(view->tiers().size(), 3U);

  const Tier& nvlink = view->tier(0);
  EXPECT_EQ(nvlink.name, "nvlink");
  EXPECT_EQ(nvlink.link, LinkClass::kNvlink);
  EXPECT_EQ(nvlink.first_port_tier, 0);
  EXPECT_FALSE(nvlink.mesh);
  EXPECT_EQ(nvlink.ports.size(), 16U);
  EXPECT_EQ(nvlink.ports[3].out.value(), 450 * kGB);
  EXPECT_EQ(nvlink.pair_limit.value(), 450 * kGB);
  EXPECT_DOUBLE_EQ(nvlink.latency.value(), 700e-9);
  EXPECT_THAT(nvlink.group_of_rank, ElementsAre(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1));

  const Tier& nic = view->tier(1);
  EXPECT_EQ(nic.name, "nic");
  EXPECT_EQ(nic.link, LinkClass::kNic);
  EXPECT_EQ(nic.first_port_tier, 1);
  EXPECT_EQ(nic.ports.size(), 16U);
  EXPECT_EQ(nic.ports[0].out.value(), 50 * kGB);   // 400e9 / 8
  EXPECT_DOUBLE_EQ(nic.latency.value(), 1300e-9);  // NIC + leaf + NIC = 600 + 100 + 600
  EXPECT_THAT(nic.group_of_rank, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7));
  EXPECT_THAT(nic.port_of_rank, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));

  const Tier& spine = view->tier(2);
  EXPECT_EQ(spine.name, "spine");
  EXPECT_EQ(spine.link, LinkClass::kSwitch);
  EXPECT_EQ(spine.first_port_tier, 1);
  ASSERT_EQ(spine.ports.size(), 8U);                 // one per leaf
  EXPECT_EQ(spine.ports[0].out.value(), 100 * kGB);  // two NICs of 50, not oversubscribed
  EXPECT_EQ(spine.pair_limit.value(), 50 * kGB);     // one pair still has one NIC each
  EXPECT_DOUBLE_EQ(spine.latency.value(), 1600e-9);  // 600 + 100 + 200 + 100 + 600
  EXPECT_THAT(spine.group_of_rank, testing::Each(0));
  EXPECT_THAT(spine.port_of_rank, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7));

  EXPECT_EQ(view->meeting_tier(RankId(0), RankId(7)), 0);
  EXPECT_EQ(view->meeting_tier(RankId(0), RankId(8)), 1);  // same rail: the leaf
  EXPECT_EQ(view->meeting_tier(RankId(0), RankId(9)), 2);  // other rail: the spine
  EXPECT_EQ(view->meeting_tier(RankId(5), RankId(5)), -1);
}

TEST(Compile, OversubscriptionAndPartlyFilledLeaves) {
  // A leaf of 4 nodes has 4 x 50 GB/s below; 2:1 leaves 100 GB/s upwards, though only two nodes are there.
  std::string text = with(kRails, R"("nodes": 2, "rails")", R"("nodes": 4, "rails")");
  text = with(text, R"("name": "spine",)", R"("name": "spine", "oversubscription": 2,)");
  const auto view = view_from(text);
  ASSERT_TRUE(view) << view.error().what;
  EXPECT_EQ(view->tier(2).ports[0].out.value(), 100 * kGB);

  const auto given =
      view_from(with(kRails, R"("name": "spine",)", R"("name": "spine", "uplink_bandwidth": "30GB/s",)"));
  ASSERT_TRUE(given) << given.error().what;
  EXPECT_EQ(given->tier(2).ports[0].out.value(), 30 * kGB);
  EXPECT_EQ(given->tier(2).pair_limit.value(), 30 * kGB);
}

TEST(Compile, ThreeNetworkLevelsScaleWithFullSwitches) {
  // Leaf: 2 nodes x 2 NICs of 50 = 200 GB/s. Pod of 4 nodes: 2 leaves of 200 = 400, over 4 = 100 GB/s to the core.
  const auto view = view_from(R"({
    "name": "pods", "nodes": 8,
    "node": {"device": "H100", "devices": 2, "scale_up": {"kind": "nvswitch", "bandwidth": "450GB/s", "latency": "1us"},
             "nics": {"count": 2, "bandwidth": "50GB/s", "latency": "1us"}},
    "network": [{"name": "leaf", "nodes": 2, "latency": "0s"}, {"name": "pod", "nodes": 4, "latency": "0s"},
                {"name": "core", "oversubscription": 4, "latency": "0s"}]})");
  ASSERT_TRUE(view) << view.error().what;
  ASSERT_EQ(view->tiers().size(), 4U);
  EXPECT_EQ(view->tier(2).ports.size(), 4U);
  EXPECT_EQ(view->tier(2).ports[0].out.value(), 200 * kGB);
  EXPECT_EQ(view->tier(3).ports.size(), 2U);
  EXPECT_EQ(view->tier(3).ports[0].out.value(), 100 * kGB);
  EXPECT_EQ(view->tier(3).first_port_tier, 1);
}

TEST(Compile, DomainOverSeveralNodes) {
  const auto view = view_from(R"({
    "name": "two racks", "nodes": 36,
    "node": {"device": "GB200", "devices": 4,
             "scale_up": {"kind": "nvswitch", "bandwidth": "900GB/s", "latency": "1us", "domain_nodes": 18},
             "nics": {"count": 4, "bandwidth": "50GB/s", "latency": "1us"}},
    "network": [{"name": "leaf", "nodes": 18, "rails": true, "latency": "0s"}, {"name": "spine", "latency": "0s"}]})");
  ASSERT_TRUE(view) << view.error().what;
  EXPECT_EQ(view->ranks(), 144);
  EXPECT_EQ(view->ranks_per_node(), 4);
  EXPECT_EQ(view->domain_size(RankId(0)), 72);
  EXPECT_EQ(view->meeting_tier(RankId(0), RankId(71)), 0);
  // Nobody meets first at a leaf that serves one rack, but its NICs still narrow the way to the spine.
  ASSERT_EQ(view->tiers().size(), 3U);
  EXPECT_EQ(view->tier(1).ports.size(), 144U);
  EXPECT_EQ(view->tier(1).ports[0].out.value(), 50 * kGB);
  EXPECT_EQ(view->meeting_tier(RankId(0), RankId(72)), 2);
  EXPECT_EQ(view->tier(2).ports.size(), 8U);
  EXPECT_EQ(view->tier(2).ports[0].out.value(), 900 * kGB);  // 18 NICs of 50
  EXPECT_EQ(view->tier(2).first_port_tier, 1);
}

TEST(Compile, SharedNics) {
  const auto view = view_from(R"({
    "name": "shared", "nodes": 2,
    "node": {"device": "A100", "devices": 4, "scale_up": {"kind": "mesh", "pair_bandwidth": "100GB/s", "latency": "1us"},
             "nics": {"count": 2, "bandwidth": "25GB/s", "latency": "1us"}},
    "network": [{"name": "switch", "latency": "0s"}]})");
  ASSERT_TRUE(view) << view.error().what;
  ASSERT_EQ(view->tiers().size(), 2U);
  EXPECT_TRUE(view->tier(0).mesh);
  EXPECT_EQ(view->tier(0).ports[0].out.value(), 300 * kGB);  // three peers
  EXPECT_EQ(view->tier(0).pair_limit.value(), 100 * kGB);
  EXPECT_THAT(view->tier(1).port_of_rank, ElementsAre(0, 0, 1, 1, 2, 2, 3, 3));
  EXPECT_EQ(view->tier(1).ports[0].out.value(), 25 * kGB);
}

TEST(Compile, SeveralNicsPerDeviceAddUp) {
  const auto view = view_from(R"({
    "name": "two each", "nodes": 2,
    "node": {"device": "A100", "devices": 2, "scale_up": {"kind": "mesh", "pair_bandwidth": "100GB/s", "latency": "1us"},
             "nics": {"count": 4, "bandwidth": "25GB/s", "latency": "1us"}},
    "network": [{"name": "switch", "latency": "0s"}]})");
  ASSERT_TRUE(view) << view.error().what;
  EXPECT_EQ(view->tier(1).ports.size(), 4U);
  EXPECT_EQ(view->tier(1).ports[0].out.value(), 50 * kGB);
}

const std::string kPcie = R"({
  "name": "PCIe box", "nodes": 1,
  "node": {"device": "A100-PCIe", "devices": 8,
           "pcie": {"bandwidth": "30GB/s", "latency": "250ns", "devices_per_switch": 2, "uplink_bandwidth": "20GB/s",
                    "sockets": 2, "socket_bandwidth": "15GB/s", "socket_latency": "300ns"}}})";

TEST(Compile, PcieTree) {
  const auto view = view_from(kPcie);
  ASSERT_TRUE(view) << view.error().what;
  ASSERT_EQ(view->tiers().size(), 3U);
  EXPECT_EQ(view->tier(0).name, "pcie");
  EXPECT_EQ(view->tier(1).name, "host");
  EXPECT_EQ(view->tier(2).name, "socket");
  EXPECT_EQ(view->tier(2).link, LinkClass::kSocket);
  EXPECT_EQ(view->meeting_tier(RankId(0), RankId(1)), 0);
  EXPECT_EQ(view->meeting_tier(RankId(1), RankId(2)), 1);
  EXPECT_EQ(view->meeting_tier(RankId(3), RankId(4)), 2);
  EXPECT_EQ(view->tier(1).ports.size(), 4U);  // the switches' uplinks
  EXPECT_EQ(view->tier(1).ports[0].out.value(), 20 * kGB);
  EXPECT_EQ(view->tier(1).first_port_tier, 0);
  EXPECT_EQ(view->tier(2).ports.size(), 2U);
  EXPECT_EQ(view->tier(2).ports[0].out.value(), 15 * kGB);
  EXPECT_EQ(view->tier(2).first_port_tier, 0);
  EXPECT_DOUBLE_EQ(view->tier(0).latency.value(), 500e-9);
  EXPECT_DOUBLE_EQ(view->tier(1).latency.value(), 1000e-9);
  EXPECT_DOUBLE_EQ(view->tier(2).latency.value(), 1600e-9);
}

TEST(Compile, WithoutPeerToPeerDevicesMeetAtTheHost) {
  const auto view = view_from(with(kPcie, R"("sockets": 2)", R"("peer_to_peer": false, "sockets": 2)"));
  ASSERT_TRUE(view) << view.error().what;
  EXPECT_EQ(view->tier(view->meeting_tier(RankId(0), RankId(1))).name, "host");
}

TEST(Compile, NicBehindANarrowPcieLinkIsNotFasterThanIt) {
  const auto view = view_from(R"({
    "name": "narrow", "nodes": 2,
    "node": {"device": "A100-PCIe", "devices": 1, "pcie": {"bandwidth": "16GB/s", "latency": "0s"},
             "nics": {"count": 1, "bandwidth": "50GB/s", "latency": "0s"}},
    "network": [{"name": "switch", "latency": "0s"}]})");
  ASSERT_TRUE(view) << view.error().what;
  ASSERT_EQ(view->tiers().size(), 1U);
  EXPECT_EQ(view->tier(0).ports[0].out.value(), 16 * kGB);
}

TEST(Compile, NvlinkBridgesJoinPairs) {
  const auto view = view_from(R"({
    "name": "bridges", "nodes": 1,
    "node": {"device": "3090", "devices": 4,
             "scale_up": {"kind": "mesh", "pair_bandwidth": "56.25GB/s", "latency": "1us", "domain_devices": 2},
             "pcie": {"bandwidth": "31.5GB/s", "latency": "250ns"}}})");
  ASSERT_TRUE(view) << view.error().what;
  EXPECT_THAT(view->tier(0).group_of_rank, ElementsAre(0, 0, 1, 1));
  EXPECT_EQ(view->meeting_tier(RankId(0), RankId(3)), 1);
  EXPECT_EQ(view->domain_size(RankId(0)), 2);
}

TEST(Compile, MixedNodesAndSlowRanks) {
  const auto view = view_from(R"({
    "name": "mixed",
    "groups": [
      {"nodes": 1, "node": {"device": "H100", "devices": 2, "scale_up": {"kind": "nvswitch", "bandwidth": "450GB/s", "latency": "1us"},
                            "nics": {"count": 2, "bandwidth": "50GB/s", "latency": "1us"}}},
      {"nodes": 1, "node": {"device": "A100-PCIe", "devices": 3, "pcie": {"bandwidth": "31.5GB/s", "latency": "0s"},
                            "nics": {"count": 1, "bandwidth": "25GB/s", "latency": "1us"}}}],
    "network": [{"name": "switch", "latency": "0s"}],
    "slow_ranks": [{"ranks": [1, "3-4"], "speed": 0.8}]})");
  ASSERT_TRUE(view) << view.error().what;
  EXPECT_EQ(view->ranks(), 5);
  EXPECT_EQ(view->devices().size(), 2U);
  EXPECT_EQ(view->device(RankId(1)).name, "H100-SXM5-80GB");
  EXPECT_EQ(view->device(RankId(2)).name, "A100-PCIe-80GB");
  std::vector<double> speeds;
  for (int rank = 0; rank < 5; ++rank) speeds.push_back(view->speed(RankId(rank)));
  EXPECT_THAT(speeds, ElementsAre(1, 0.8, 1, 0.8, 0.8));
  ASSERT_EQ(view->tiers().size(), 3U);                                   // nvlink, host, switch
  EXPECT_THAT(view->tier(0).group_of_rank, ElementsAre(0, 0, 1, 2, 3));  // cards without NVLink stand alone
  EXPECT_TRUE(std::isinf(view->tier(0).ports[static_cast<std::size_t>(view->tier(0).port_of_rank[2])].out.value()));
  EXPECT_EQ(view->meeting_tier(RankId(0), RankId(1)), 0);
  EXPECT_EQ(view->meeting_tier(RankId(2), RankId(4)), 1);
  EXPECT_EQ(view->meeting_tier(RankId(0), RankId(2)), 2);
}

TEST(Compile, DirectionsMayDiffer) {
  const auto view = view_from(
      with(kRails, R"("bandwidth": "400Gbit/s")", R"("bandwidth": "400Gbit/s", "bandwidth_in": "200Gbit/s")"));
  ASSERT_TRUE(view) << view.error().what;
  EXPECT_EQ(view->tier(1).ports[0].out.value(), 50 * kGB);
  EXPECT_EQ(view->tier(1).ports[0].in.value(), 25 * kGB);
  EXPECT_EQ(view->tier(1).pair_limit.value(), 25 * kGB);
}

TEST(Compile, OneRankHasNoTiers) {
  const auto view = view_from(R"({"name": "one", "nodes": 1, "node": {"device": "H100", "devices": 1}})");
  ASSERT_TRUE(view) << view.error().what;
  EXPECT_EQ(view->ranks(), 1);
  EXPECT_TRUE(view->tiers().empty());
  EXPECT_EQ(view->domain_size(RankId(0)), 1);
}

TEST(Compile, OneNodeNeedsNoNetworkTier) {
  const auto view = view_from(kRails, 1);
  ASSERT_TRUE(view) << view.error().what;
  EXPECT_EQ(view->tiers().size(), 1U);
}

// Whatever the preset and size: every pair meets, tiers index real ports, and a rank's port carries something.
TEST(Compile, PropertiesOfEveryPresetAtSeveralSizes) {
  for (const std::string& name : preset_names())
    for (const int nodes : {1, 2, 3, 19, 37}) {
      SCOPED_TRACE(name + " with " + std::to_string(nodes) + " nodes");
      const auto spec = load_cluster("preset:" + name, nodes);
      ASSERT_TRUE(spec) << spec.error().what;
      const auto view = compile(*spec);
      ASSERT_TRUE(view) << view.error().what;
      ASSERT_EQ(view->ranks(), spec->ranks());
      ASSERT_EQ(view->nodes(), nodes);
      for (std::size_t t = 0; t < view->tiers().size(); ++t) {
        const Tier& tier = view->tiers()[t];
        ASSERT_LE(tier.first_port_tier, static_cast<int>(t));
        ASSERT_GE(tier.first_port_tier, 0);
        ASSERT_GT(tier.pair_limit.value(), 0);
        for (const std::int32_t port : tier.port_of_rank) {
          ASSERT_LT(static_cast<std::size_t>(port), tier.ports.size());
          ASSERT_GT(tier.ports[static_cast<std::size_t>(port)].out.value(), 0);
          ASSERT_GT(tier.ports[static_cast<std::size_t>(port)].in.value(), 0);
        }
      }
      for (int rank = 1; rank < view->ranks(); ++rank) {
        ASSERT_GE(view->meeting_tier(RankId(0), RankId(rank)), 0);
        ASSERT_EQ(view->meeting_tier(RankId(0), RankId(rank)), view->meeting_tier(RankId(rank), RankId(0)));
      }
    }
}

}  // namespace
}  // namespace moesim
