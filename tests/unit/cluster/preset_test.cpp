#include <gmock/gmock.h>

#include <algorithm>

#include "models/cluster/consistency.hpp"
#include "tests/unit/cluster/cluster_testing.hpp"

namespace moesim {
namespace {

using testing::HasSubstr;

TEST(Presets, EachLoadsAndRaisesNoWarning) {
  ASSERT_GE(preset_names().size(), 15U);
  for (const std::string& name : preset_names()) {
    SCOPED_TRACE(name);
    const auto spec = load_cluster("preset:" + name, 0);
    ASSERT_TRUE(spec) << spec.error().what << " " << spec.error().where;
    const auto view = compile(*spec);
    ASSERT_TRUE(view) << view.error().what;
    for (const ClusterFinding& finding : check_consistency(*spec, *view))
      EXPECT_EQ(finding.severity, ClusterSeverity::kNote) << finding.what;
    for (const Tier& tier : view->tiers()) {
      EXPECT_NE(tier.provenance.origin, Origin::kUser) << tier.name;
      EXPECT_FALSE(tier.provenance.source.empty()) << tier.name;
    }
  }
}

struct Expected {
  const char* preset;
  const char* device;
  int ranks_per_node;
  double port_GBps;  // of the innermost tier
  double nic_GBps;   // of the tier after it that has NIC ports
  int sharing;       // ranks on one NIC
};

TEST(Presets, FiguresAreThoseOfTheDatasheets) {
  const Expected kExpected[] = {
      {"v100", "V100-SXM2-32GB", 8, 150, 12.5, 2},        {"a100", "A100-SXM4-80GB", 8, 300, 25, 1},
      {"a100-40gb", "A100-SXM4-40GB", 8, 300, 25, 1},     {"a100-pcie", "A100-PCIe-80GB", 8, 31.5, 25, 4},
      {"h100", "H100-SXM5-80GB", 8, 450, 50, 1},          {"h200", "H200-SXM-141GB", 8, 450, 50, 1},
      {"h800", "H800-SXM5-80GB", 8, 200, 50, 1},          {"b200", "B200-SXM-180GB", 8, 900, 50, 1},
      {"gb200-nvl72", "GB200-NVL72", 4, 900, 50, 1},      {"mi300x", "MI300X", 8, 448, 50, 1},
      {"rtx2080ti", "RTX2080Ti-11GB", 4, 15.75, 12.5, 4}, {"rtx3090", "RTX3090-24GB", 8, 56.25, 12.5, 8},
      {"rtx4090", "RTX4090-24GB", 8, 31.5, 12.5, 8},      {"gh200", "GH200-96GB", 4, 450, 25, 1},
      {"polaris", "A100-SXM4-40GB", 4, 300, 25, 2}};
  for (const Expected& expected : kExpected) {
    SCOPED_TRACE(expected.preset);
    const auto spec = load_cluster(std::string("preset:") + expected.preset, 36);
    ASSERT_TRUE(spec) << spec.error().what;
    const auto view = compile(*spec);
    ASSERT_TRUE(view) << view.error().what;
    EXPECT_EQ(view->device(RankId(0)).name, expected.device);
    EXPECT_EQ(view->ranks_per_node(), expected.ranks_per_node);
    EXPECT_DOUBLE_EQ(view->tier(0).ports[0].out.value(), expected.port_GBps * 1e9);
    const auto nic = std::find_if(view->tiers().begin(), view->tiers().end(),
                                  [](const Tier& tier) { return tier.link == LinkClass::kNic; });
    ASSERT_NE(nic, view->tiers().end());
    EXPECT_DOUBLE_EQ(nic->ports[0].out.value(), expected.nic_GBps * 1e9);
    EXPECT_EQ(std::count(nic->port_of_rank.begin(), nic->port_of_rank.end(), 0), expected.sharing);
  }
}

TEST(Presets, NamesIgnoreCaseAndHaveAliases) {
  for (const char* name : {"preset:H100", "preset:dgx-h100", "PRESET:DGX-H100", "preset:h100-sxm"}) {
    const auto spec = load_cluster(name, 2);
    ASSERT_TRUE(spec) << name;
    EXPECT_EQ(spec->groups[0].node.device.name, "H100-SXM5-80GB");
    EXPECT_EQ(spec->nodes(), 2);
  }
  const auto nvl72 = load_cluster("preset:NVL72", 0);
  ASSERT_TRUE(nvl72);
  EXPECT_EQ(nvl72->ranks(), 72);
}

TEST(Presets, UnknownNamesAndNodeCountsAreUsageErrors) {
  const auto unknown = load_cluster("preset:h10", 2);
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().kind, ErrorKind::kUsage);
  EXPECT_THAT(unknown.error().what, HasSubstr("did you mean 'h100'"));
  for (const int nodes : {-1, 100'001}) {
    const auto wrong = load_cluster("preset:h100", nodes);
    ASSERT_FALSE(wrong);
    EXPECT_EQ(wrong.error().kind, ErrorKind::kUsage);
    EXPECT_THAT(wrong.error().what, HasSubstr("--nodes"));
  }
  EXPECT_FALSE(load_cluster("/does/not/exist.json", 1));
  EXPECT_FALSE(load_cluster("", 1));
}

}  // namespace
}  // namespace moesim
