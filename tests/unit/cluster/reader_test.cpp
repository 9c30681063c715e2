// Every way in which a cluster file can be wrong gives one error that names the place.
#include <gmock/gmock.h>

#include "tests/unit/cluster/cluster_testing.hpp"

namespace moesim {
namespace {

using testing::AllOf;
using testing::HasSubstr;

const std::string kGoodFile = R"({
  "name": "good", "nodes": 4,
  "node": {"device": "H100", "devices": 8,
           "scale_up": {"kind": "nvswitch", "bandwidth": "450GB/s", "latency": "1us"},
           "pcie": {"bandwidth": "63GB/s", "latency": "250ns", "devices_per_switch": 2, "sockets": 2,
                    "socket_bandwidth": "40GB/s", "socket_latency": "300ns"},
           "nics": {"count": 8, "bandwidth": "400Gbit/s", "latency": "1us"}},
  "network": [{"name": "leaf", "nodes": 2, "rails": true, "latency": "100ns"}, {"name": "spine", "latency": "100ns"}],
  "slow_ranks": [{"ranks": [3], "speed": 0.9}]})";

TEST(ClusterReader, TheGoodFileIsGood) { EXPECT_EQ(complaint(kGoodFile), ""); }

struct Case {
  const char* from;
  const char* to;
  const char* what;
  const char* where;
};

TEST(ClusterReader, EachMistakeIsNamedWithItsPlace) {
  const Case kCases[] = {
      // Units and sizes.
      {R"("450GB/s")", "450", "'450' has no unit", "#/node/scale_up/bandwidth"},
      {R"("450GB/s")", R"("450GX/s")", "unknown unit 'GX/s'", "#/node/scale_up/bandwidth"},
      {R"("450GB/s")", R"("0GB/s")", "zero capacity", "#/node/scale_up/bandwidth"},
      {R"("450GB/s")", R"("-450GB/s")", "not negative", "#/node/scale_up/bandwidth"},
      {R"("nodes": 4)", R"("nodes": 0)", "outside the range 1 to 100000", "#/nodes"},
      {R"("nodes": 4)", R"("nodes": -4)", "outside the range", "#/nodes"},
      {R"("nodes": 4)", R"("nodes": 2.5)", "expected a whole number", "#/nodes"},
      {R"("nodes": 4)", R"("nodes": "four")", "expected a whole number", "#/nodes"},
      {R"("nodes": 4,)", "", "number of nodes is not given", "test.json#"},
      {R"("devices": 8)", R"("devices": 0)", "outside the range", "#/node/devices"},
      {R"("count": 8)", R"("count": 12)", "12 NICs do not divide over 8 devices", "#/node/nics/count"},
      // Names.
      {R"("H100")", R"("H1000")", "did you mean", "#/node/device"},
      {R"("H100")", "[1]", "expected a string", "#/node/device"},
      {R"("nvswitch")", R"("nvswich")", "unknown kind 'nvswich' (did you mean 'nvswitch'?)", "#/node/scale_up/kind"},
      {R"("scale_up")", R"("scaleup")", "unknown key 'scaleup' (did you mean 'scale_up'?)", "#/node/scaleup"},
      {R"("rails": true)", R"("rail": true)", "unknown key 'rail' (did you mean 'rails'?)", "#/network/0/rail"},
      {R"("name": "good")", R"("nam": "good")", "required key 'name' is missing", "test.json#"},
      // PCIe tree.
      {R"("sockets": 2)", R"("sockets": 3)", "8 devices do not divide over 3 sockets", "#/node/pcie/sockets"},
      {R"("devices_per_switch": 2)", R"("devices_per_switch": 3)", "do not divide over switches of 3",
       "#/node/pcie/devices_per_switch"},
      {R"("devices_per_switch": 2)", R"("uplink_bandwidth": "9GB/s")", "there is no PCIe switch",
       "#/node/pcie/uplink_bandwidth"},
      {R"("socket_bandwidth": "40GB/s", )", "", "required key 'socket_bandwidth' is missing", "#/node/pcie"},
      // Network.
      {R"({"name": "spine",)", R"({"name": "spine", "nodes": 3,)", "no multiple of the 2 of 'leaf'", "#/network"},
      {R"({"name": "spine",)", R"({"name": "spine", "nodes": 2,)", "spans 2 nodes but the cluster has 4", "test.json#"},
      {R"({"name": "spine",)", R"({"name": "spine", "oversubscription": 0,)", "outside the range",
       "#/network/1/oversubscription"},
      {R"({"name": "spine",)", R"({"name": "spine", "oversubscription": 2, "uplink_bandwidth": "9GB/s",)",
       "given already", "#/network/1/oversubscription"},
      {R"({"name": "spine",)", R"({"name": "spine", "uplink_bandwidth": "0GB/s",)", "zero capacity",
       "#/network/1/uplink_bandwidth"},
      {R"(, {"name": "spine", "latency": "100ns"})", "", "spans 2 nodes but the cluster has 4", "test.json#"},
      {R"("nodes": 2, "rails": true)", R"("rails": false)", "'spine' stands above 'leaf', which spans all nodes",
       "#/network"},
      // Slow ranks.
      {R"("ranks": [3])", R"("ranks": [32])", "slow rank 32 does not exist", "test.json#"},
      {R"("ranks": [3])", R"("ranks": ["7-3"])", "'7-3' is not a range of ranks", "#/slow_ranks/0/ranks/0"},
      {R"("ranks": [3])", R"("ranks": ["a"])", "'a' is not a range of ranks", "#/slow_ranks/0/ranks/0"},
      {R"("ranks": [3])", R"("ranks": [-1])", "outside the range", "#/slow_ranks/0/ranks/0"},
      {R"("speed": 0.9)", R"("speed": 0)", "outside the range", "#/slow_ranks/0/speed"},
  };
  for (const Case& wrong : kCases) {
    const std::string text = with(kGoodFile, wrong.from, wrong.to);
    EXPECT_THAT(complaint(text), AllOf(HasSubstr(wrong.what), HasSubstr(wrong.where)))
        << wrong.from << " -> " << wrong.to;
  }
}

TEST(ClusterReader, LatencyNeedsATimeUnit) {
  EXPECT_THAT(complaint(with(kGoodFile, R"("latency": "1us")", R"("latency": "1parsec")")),
              AllOf(HasSubstr("unknown unit 'parsec'"), HasSubstr("#/node/scale_up/latency")));
}

TEST(ClusterReader, BareNumbersShowTheAcceptedSpellings) {
  EXPECT_THAT(complaint(with(kGoodFile, R"("400Gbit/s")", "400")), HasSubstr("400Gbit/s or 400Gbps (bits)"));
}

TEST(ClusterReader, NotJsonAndNotAnObject) {
  EXPECT_THAT(complaint(R"({"name": "cut", "nodes": 2, "node": {"dev)"), HasSubstr("test.json"));
  EXPECT_THAT(complaint("[1, 2]"), HasSubstr("holds one JSON object"));
  EXPECT_THAT(complaint(""), HasSubstr("test.json"));
}

TEST(ClusterReader, OneFormOnly) {
  EXPECT_THAT(complaint(R"({"name": "x"})"), HasSubstr("the cluster has no nodes"));
  EXPECT_THAT(complaint(with(kGoodFile, R"("nodes": 4,)", R"("nodes": 4, "groups": [],)")),
              HasSubstr("more than one way"));
}

TEST(ClusterReader, NodesOfSeveralDevicesNeedALink) {
  EXPECT_THAT(complaint(R"({"name": "x", "nodes": 1, "node": {"device": "H100", "devices": 2}})"),
              HasSubstr("nothing joins the 2 devices of a node"));
  EXPECT_THAT(complaint(R"({"name": "x", "nodes": 1, "node": {"device": "H100", "devices": 4, "scale_up":
                {"kind": "mesh", "pair_bandwidth": "50GB/s", "latency": "1us", "domain_devices": 2}}})"),
              HasSubstr("nothing joins the 4 devices of a node"));
  EXPECT_THAT(complaint(R"({"name": "x", "nodes": 1, "node": {"device": "H100", "devices": 4, "scale_up":
                {"kind": "mesh", "pair_bandwidth": "50GB/s", "latency": "1us", "domain_devices": 3}}})"),
              HasSubstr("4 devices do not divide into domains of 3"));
}

TEST(ClusterReader, NodesWithoutANetworkCannotReachEachOther) {
  EXPECT_THAT(complaint(R"({"name": "x", "nodes": 2, "node": {"device": "H100", "devices": 1}})"),
              HasSubstr("no way between 'node0/gpu0' (rank 0) and 'node1/gpu0' (rank 1)"));
  EXPECT_THAT(complaint(R"({"name": "x", "nodes": 2, "node": {"device": "H100", "devices": 1},
                            "network": [{"name": "leaf", "latency": "0s"}]})"),
              HasSubstr("its nodes have no NICs"));
}

TEST(ClusterReader, RailsWithoutASpineDoNotReachAcross) {
  const std::string rails_only =
      with(with(kGoodFile, R"("nodes": 2, "rails")", R"("rails")"), R"(, {"name": "spine", "latency": "100ns"})", "");
  EXPECT_THAT(complaint(rails_only), HasSubstr("no way between 'node0/gpu0' (rank 0) and 'node1/gpu1' (rank 9)"));
}

TEST(ClusterReader, NodesFromTheCommandLine) {
  const auto spec = spec_from(kGoodFile, 6);
  ASSERT_TRUE(spec);
  EXPECT_EQ(spec->nodes(), 6);
  const std::string groups = R"({"name": "x", "groups": [{"nodes": 1, "node": {"device": "H100", "devices": 1}}]})";
  EXPECT_EQ(complaint(groups, 1), "");
  EXPECT_THAT(complaint(groups, 2), HasSubstr("2 nodes were asked for, and the file lists its 1 nodes"));
  EXPECT_THAT(complaint(with(groups, R"([{"nodes": 1, "node": {"device": "H100", "devices": 1}}])", "[]")),
              HasSubstr("at least one group"));
}

TEST(ClusterReader, TooManyRanks) {
  EXPECT_THAT(complaint(R"({"name": "x", "nodes": 100000, "node": {"device": "H100", "devices": 4096, "pcie":
                            {"bandwidth": "1GB/s", "latency": "0s"}}})"),
              HasSubstr("more than the 1048576"));
}

TEST(ClusterReader, UnknownOrigin) {
  EXPECT_THAT(complaint(with(kGoodFile, R"("count": 8)", R"("provenance": {"origin": "guess"}, "count": 8)")),
              AllOf(HasSubstr("unknown origin 'guess'"), HasSubstr("one of datasheet, measured")));
}

}  // namespace
}  // namespace moesim
