#include "models/cluster/consistency.hpp"

#include <gmock/gmock.h>

#include "models/cluster/draw.hpp"
#include "tests/unit/cluster/cluster_testing.hpp"

namespace moesim {
namespace {

using testing::Contains;
using testing::HasSubstr;

const std::string kSoundFile = R"({
  "name": "good", "nodes": 4,
  "node": {"device": "A100", "devices": 8,
           "scale_up": {"kind": "nvswitch", "bandwidth": "300GB/s", "latency": "1us"},
           "pcie": {"bandwidth": "31.5GB/s", "latency": "250ns"},
           "nics": {"count": 8, "bandwidth": "200Gbit/s", "latency": "1us"}},
  "network": [{"name": "leaf", "nodes": 2, "rails": true, "latency": "100ns"}, {"name": "spine", "latency": "100ns"}]})";

std::vector<std::string> findings(const std::string& text) {
  const auto spec = spec_from(text);
  EXPECT_TRUE(spec) << spec.error().what;
  const auto view = compile(*spec);
  EXPECT_TRUE(view) << view.error().what;
  std::vector<std::string> lines;
  for (const ClusterFinding& finding : check_consistency(*spec, *view))
    lines.push_back(std::string(severity_name(finding.severity)) + ": " + finding.what);
  return lines;
}

TEST(Consistency, NothingToSay) { EXPECT_THAT(findings(kSoundFile), testing::IsEmpty()); }

TEST(Consistency, EachFinding) {
  const std::tuple<const char*, const char*, const char*> kCases[] = {
      {R"("200Gbit/s")", R"("200GB/s")", "warning: the NIC (200 GB/s) is faster than its PCIe link"},
      {R"("200Gbit/s")", R"("400GB/s")", "warning: a NIC of 400 GB/s is faster than any known"},
      {R"("200Gbit/s")", R"("200Mbit/s")", "warning: a NIC of 25.00 MB/s is very slow"},
      {R"("200Gbit/s")", R"("200Gbit/s", "bandwidth_in": "100Gbit/s")",
       "note: a NIC is asymmetric: 25.00 GB/s out, 12.50 GB/s in"},
      {R"("300GB/s")", R"("20GB/s")", "warning: the scale-up port (20.00 GB/s) is slower than the NIC (25.00 GB/s)"},
      {R"("300GB/s")", R"("3TB/s")", "warning: a scale-up port of 3.00 TB/s is faster than any known"},
      {R"("31.5GB/s")", R"("256GB/s")", "warning: a PCIe link of 256 GB/s is faster than any known"},
      {R"("count": 8)", R"("count": 4)", "note: 2 devices share one NIC"},
      {R"("count": 8)", R"("count": 3)", "warning: 3 NICs do not divide 8 devices"},
      {R"("latency": "1us")", R"("latency": "2ms")",
       "warning: scale-up domain: a latency of 2.00 ms is out of the ordinary"},
      {R"("kind": "nvswitch",)", R"("kind": "nvswitch", "domain_nodes": 3,)",
       "warning: 4 nodes do not fill scale-up domains of 3 nodes: the last one has 1"},
      {R"("kind": "nvswitch",)", R"("kind": "mesh", "pair_bandwidth": "25GB/s",)",
       "warning: a mesh port of 300 GB/s is more than its 7 links of 25.00 GB/s"},
      {R"({"name": "spine",)", R"({"name": "spine", "oversubscription": 3,)",
       "note: network level 'spine' is oversubscribed 3:1"},
      {R"({"name": "spine",)", R"({"name": "spine", "oversubscription": 0.5,)",
       "warning: network level 'spine' has more capacity upwards"},
      {R"("nodes": 4)", R"("nodes": 1)", "note: network level 'spine' joins nothing"},
      {R"("nodes": 4)", R"("nodes": 4, "slow_ranks": [{"ranks": ["0-1"], "speed": 0.7}])",
       "note: 2 of 32 ranks are slower"},
      {R"("nodes": 4)", R"("nodes": 4, "slow_ranks": [{"ranks": [5], "speed": 1.6}])",
       "warning: 1 of 32 ranks have a speed above 1.5"},
      {R"("A100")", R"("V100")", "note: V100-SXM2-32GB: FP16 tensor cores only"},
      {R"("A100")",
       R"({"name": "X", "memory": "40GB", "memory_bandwidth": "40TB/s", "compute_units": 1, "dense_peak": {"bf16": "1TFLOPS"}})",
       "warning: X: a memory bandwidth of 40.00 TB/s is out of the ordinary"},
      {R"("A100")",
       R"({"name": "X", "memory": "40MB", "memory_bandwidth": "1TB/s", "compute_units": 1, "dense_peak": {"fp32": "1TFLOPS"}})",
       "warning: X has neither a BF16 nor an FP16 peak rate"},
  };
  for (const auto& [from, to, expected] : kCases)
    EXPECT_THAT(findings(with(kSoundFile, from, to)), Contains(HasSubstr(expected))) << from << " -> " << to;
}

TEST(Consistency, MixedDevices) {
  EXPECT_THAT(findings(R"({"name": "x", "groups": [
      {"nodes": 1, "node": {"device": "A100", "devices": 1, "nics": {"count": 1, "bandwidth": "25GB/s", "latency": "1us"}}},
      {"nodes": 1, "node": {"device": "H100", "devices": 1, "nics": {"count": 1, "bandwidth": "25GB/s", "latency": "1us"}}}],
      "network": [{"name": "leaf", "latency": "0s"}]})"),
              Contains(HasSubstr("note: the cluster mixes devices: A100-SXM4-80GB, H100-SXM5-80GB")));
}

TEST(Draw, TheWholePicture) {
  const auto spec = spec_from(kSoundFile);
  ASSERT_TRUE(spec);
  const auto view = compile(*spec);
  ASSERT_TRUE(view);
  EXPECT_THAT(draw(*spec, *view),
              testing::ElementsAre(
                  "good: 4 nodes, 32 ranks", "", "  spine   1 group of 32 ranks, 2.80 us one way",
                  "  │       16 ports of 50.00 GB/s, 2 ranks on each", "  │       crosses the ports of leaf as well",
                  "  │       user: test.json#", "  leaf    16 groups of 2 ranks, 2.60 us one way",
                  "  │       32 ports of 25.00 GB/s", "  │       user: test.json#",
                  "  nvlink  4 groups of 8 ranks, 1.00 us one way", "  │       32 ports of 300 GB/s",
                  "  │       user: test.json#", "  ┌ 4 nodes ────────────────────────────────────────────────┐",
                  "  │ 8 x A100-SXM4-80GB, 79.15 GiB at 2.04 TB/s              │",
                  "  │ nvlink switch, 300 GB/s per device, domain of 8 devices │",
                  "  │ pcie 31.50 GB/s per device                              │",
                  "  │ 8 x NIC 25.00 GB/s                                      │",
                  "  └─────────────────────────────────────────────────────────┘"));
}

}  // namespace
}  // namespace moesim
