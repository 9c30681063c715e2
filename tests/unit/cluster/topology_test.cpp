#include "models/cluster/topology.hpp"

#include <gmock/gmock.h>

#include "tests/unit/cluster/cluster_testing.hpp"

namespace moesim {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

// Two nodes of two devices; NVLink inside, one NIC per node, one leaf each, one spine.
const std::string kTree = R"({"name": "tree", "topology": {
  "switches": [
    {"name": "nv0", "kind": "nvswitch", "latency": "500ns"},
    {"name": "nv1", "kind": "nvswitch", "latency": "500ns"},
    {"name": "nic0", "kind": "nic", "latency": "1us", "uplinks": [{"to": "leaf0", "bandwidth": "50GB/s"}]},
    {"name": "nic1", "kind": "nic", "latency": "1us", "uplinks": [{"to": "leaf1", "bandwidth": "50GB/s"}]},
    {"name": "leaf0", "kind": "network", "uplinks": [{"to": "spine", "bandwidth": "40GB/s", "latency": "2us"}]},
    {"name": "leaf1", "kind": "network", "uplinks": [{"to": "spine", "bandwidth": "40GB/s", "latency": "2us"}]},
    {"name": "spine", "kind": "network"}],
  "devices": [
    {"name": "g0", "device": "H100", "node": 0, "links": [{"to": "nv0", "bandwidth": "450GB/s"}, {"to": "nic0", "bandwidth": "60GB/s"}]},
    {"name": "g1", "device": "H100", "node": 0, "links": [{"to": "nv0", "bandwidth": "450GB/s"}, {"to": "nic0", "bandwidth": "60GB/s"}]},
    {"name": "g2", "device": "A100", "node": 1, "speed": 0.5, "links": [{"to": "nv1", "bandwidth": "300GB/s"}, {"to": "nic1", "bandwidth": "60GB/s"}]},
    {"name": "g3", "device": "A100", "node": 1, "links": [{"to": "nv1", "bandwidth": "300GB/s"}, {"to": "nic1", "bandwidth": "60GB/s"}]}]}})";

TEST(Topology, GroupsBecomeAGraph) {
  const auto spec = load_cluster("preset:h100", 2);
  ASSERT_TRUE(spec);
  const auto topology = build_topology(*spec);
  ASSERT_TRUE(topology) << topology.error().what;
  // Per node 8 devices, 1 NVSwitch, 8 NICs, 4 PCIe switches, 2 hosts, 1 system; then 8 rail leaves and 1 spine.
  EXPECT_EQ(boost::num_vertices(*topology->graph), 2U * 24 + 9);
  // Per node 8 NVLink, 8 device-switch, 4 switch-host, 2 host-system, 8 to NICs, 8 from NICs; then 8 leaf uplinks.
  EXPECT_EQ(boost::num_edges(*topology->graph), 2U * 38 + 8);
  EXPECT_EQ(topology->links, 2 * 38 + 8);
  EXPECT_EQ(topology->vertex_of_rank.size(), 16U);
  EXPECT_TRUE(check_acyclic(*topology->graph, "h100"));
}

TEST(Topology, NamedSwitchesCompile) {
  const auto view = view_from(kTree);
  ASSERT_TRUE(view) << view.error().what;
  ASSERT_EQ(view->tiers().size(), 2U);
  EXPECT_EQ(view->nodes(), 2);
  EXPECT_EQ(view->speed(RankId(2)), 0.5);
  EXPECT_EQ(view->device(RankId(3)).name, "A100-SXM4-80GB");
  EXPECT_EQ(view->tier(0).ports[0].out.value(), 450e9);
  EXPECT_EQ(view->tier(0).ports[2].out.value(), 300e9);
  // A leaf joins nobody who has not met, and its uplink (40 GB/s, two ranks) is a tighter limit than the NIC (50, two)
  // and the devices' own links (60, one): no tier of its own.
  EXPECT_EQ(view->meeting_tier(RankId(0), RankId(2)), 1);
  const Tier& spine = view->tier(1);
  EXPECT_THAT(spine.port_of_rank, ElementsAre(0, 0, 1, 1));
  EXPECT_EQ(spine.ports[0].out.value(), 40e9);
  EXPECT_EQ(spine.pair_limit.value(), 40e9);
  EXPECT_DOUBLE_EQ(spine.latency.value(), 6e-6);  // NIC 1 + link 2 + link 2 + NIC 1
}

TEST(Topology, ACycleIsNamed) {
  const std::string cyclic =
      with(kTree, R"({"name": "spine", "kind": "network"})",
           R"({"name": "spine", "kind": "network", "uplinks": [{"to": "leaf0", "bandwidth": "40GB/s"}]})");
  EXPECT_THAT(complaint(cyclic), AllOf(HasSubstr("the uplinks form a cycle"), HasSubstr("leaf0 -> spine -> leaf0")));
  const std::string self =
      with(kTree, R"({"name": "spine", "kind": "network"})",
           R"({"name": "spine", "kind": "network", "uplinks": [{"to": "spine", "bandwidth": "40GB/s"}]})");
  EXPECT_THAT(complaint(self), HasSubstr("spine -> spine"));
}

TEST(Topology, BadReferencesAndNames) {
  EXPECT_THAT(complaint(with(kTree, R"("to": "spine")", R"("to": "spin")")),
              AllOf(HasSubstr("'leaf0' has a link to 'spin'"), HasSubstr("did you mean 'spine'")));
  EXPECT_THAT(complaint(with(kTree, R"("to": "nv0")", R"("to": "g1")")),
              HasSubstr("'g0' has a link to 'g1', and no switch has that name"));
  EXPECT_THAT(complaint(with(kTree, R"("name": "nv1")", R"("name": "nv0")")), HasSubstr("'nv0' is used twice"));
  EXPECT_THAT(complaint(with(kTree, R"("name": "g1")", R"("name": "g0")")), HasSubstr("'g0' is used twice"));
  EXPECT_THAT(complaint(with(kTree, R"("kind": "nvswitch")", R"("kind": "nvlink")")),
              HasSubstr("one of nvswitch, mesh, pcie"));
  EXPECT_THAT(complaint(with(kTree, R"("speed": 0.5)", R"("nic": "leaf0")")),
              HasSubstr("no switch of kind nic has that name"));
}

TEST(Topology, CapacitiesAndReach) {
  EXPECT_THAT(complaint(with(kTree, R"("bandwidth": "40GB/s")", R"("bandwidth": "0GB/s")")),
              AllOf(HasSubstr("zero capacity"), HasSubstr("#/topology/switches/4/uplinks/0/bandwidth")));
  EXPECT_THAT(complaint(with(kTree, R"(, "uplinks": [{"to": "spine", "bandwidth": "40GB/s", "latency": "2us"}])", "")),
              HasSubstr("no way between 'g0' (rank 0) and 'g2' (rank 2)"));
}

TEST(Topology, TwoWaysAreAnError) {
  // g0 reaches the spine through leaf0 and, as quickly, through leaf1.
  const std::string two = with(kTree, R"([{"to": "leaf0", "bandwidth": "50GB/s"}])",
                               R"([{"to": "leaf0", "bandwidth": "50GB/s"}, {"to": "leaf1", "bandwidth": "50GB/s"}])");
  EXPECT_THAT(complaint(two), HasSubstr("device 'g0' has two equally short ways to 'spine'"));
  const std::string both = with(kTree, R"({"to": "nv0", "bandwidth": "450GB/s"},)",
                                R"({"to": "nv0", "bandwidth": "450GB/s"}, {"to": "nv1", "bandwidth": "450GB/s"},)");
  EXPECT_THAT(complaint(both), HasSubstr("device 'g0' reaches two switches of the same level, 'nv0' and 'nv1'"));
}

TEST(Topology, ADeviceMayNameItsNic) {
  // Both NICs hang off one host; each device uses its own.
  const auto view = view_from(R"({"name": "one host", "topology": {
    "switches": [
      {"name": "host", "kind": "host", "uplinks": [{"to": "nic0", "bandwidth": "60GB/s"}, {"to": "nic1", "bandwidth": "60GB/s"}]},
      {"name": "far", "kind": "host", "uplinks": [{"to": "nic2", "bandwidth": "60GB/s"}]},
      {"name": "nic0", "kind": "nic", "uplinks": [{"to": "leaf", "bandwidth": "10GB/s"}]},
      {"name": "nic1", "kind": "nic", "uplinks": [{"to": "leaf", "bandwidth": "20GB/s"}]},
      {"name": "nic2", "kind": "nic", "uplinks": [{"to": "leaf", "bandwidth": "30GB/s"}]},
      {"name": "leaf", "kind": "network"}],
    "devices": [
      {"name": "a", "device": "A100", "node": 0, "nic": "nic0", "links": [{"to": "host", "bandwidth": "60GB/s"}]},
      {"name": "b", "device": "A100", "node": 0, "nic": "nic1", "links": [{"to": "host", "bandwidth": "60GB/s"}]},
      {"name": "c", "device": "A100", "node": 1, "links": [{"to": "far", "bandwidth": "60GB/s"}]}]}})");
  ASSERT_TRUE(view) << view.error().what;
  ASSERT_EQ(view->tiers().size(), 2U);
  const Tier& leaf = view->tier(1);
  EXPECT_EQ(leaf.ports[static_cast<std::size_t>(leaf.port_of_rank[0])].out.value(), 10e9);
  EXPECT_EQ(leaf.ports[static_cast<std::size_t>(leaf.port_of_rank[1])].out.value(), 20e9);
  EXPECT_EQ(leaf.ports[static_cast<std::size_t>(leaf.port_of_rank[2])].out.value(), 30e9);
}

TEST(Topology, DevicesComeNodeByNode) {
  EXPECT_THAT(complaint(with(kTree, R"("g0", "device": "H100", "node": 0)", R"("g0", "device": "H100", "node": 1)")),
              HasSubstr("list the devices node by node"));
  EXPECT_THAT(complaint(with(kTree, R"("g2", "device": "A100", "node": 1)", R"("g2", "device": "A100", "node": 5)")),
              HasSubstr("device 'g2' is of node 5 where node 0 or 1 is next"));
  EXPECT_THAT(complaint(R"({"name": "x", "topology": {"switches": [], "devices": []}})"),
              HasSubstr("at least one device"));
  EXPECT_THAT(complaint(kTree, 3), HasSubstr("3 nodes were asked for"));
}

TEST(Topology, OneNameOneDevice) {
  const std::string own =
      R"({"name": "Own", "memory": "10GB", "memory_bandwidth": "1TB/s", "compute_units": 8, "dense_peak": {"bf16": "1TFLOPS"}})";
  std::string text = with(with(kTree, R"("H100")", own), R"("H100")", own);
  EXPECT_EQ(complaint(text), "");
  EXPECT_THAT(complaint(with(text, "10GB", "20GB")), HasSubstr("'Own' is described twice, with different figures"));
}

TEST(Topology, DeepChainsAreRefused) {
  std::string switches;
  for (int i = 0; i < 40; ++i)
    switches += R"({"name": "s)" + std::to_string(i) + R"(", "kind": "network", "uplinks": [{"to": "s)" +
                std::to_string(i + 1) + R"(", "bandwidth": "1GB/s"}]}, )";
  const std::string text =
      R"({"name": "deep", "topology": {"switches": [)" + switches +
      R"({"name": "s40", "kind": "network"}], "devices": [{"name": "g", "device": "H100", "node": 0,
                           "links": [{"to": "s0", "bandwidth": "1GB/s"}]}]}})";
  EXPECT_THAT(complaint(text), HasSubstr("41 levels of switches"));
}

}  // namespace
}  // namespace moesim
