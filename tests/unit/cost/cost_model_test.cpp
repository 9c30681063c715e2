#include "models/cost/cost_model.hpp"

#include <gtest/gtest.h>

#include "models/cluster/cluster_source.hpp"
#include "models/cost/law_parameters.hpp"
#include "test_cluster.hpp"

namespace moesim {
namespace {

ClusterView preset(const std::string& name, int nodes) {
  auto spec = load_cluster("preset:" + name, nodes);
  EXPECT_TRUE(spec.has_value()) << name;
  auto view = compile(*spec);
  EXPECT_TRUE(view.has_value()) << name;
  return std::move(*view);
}

double bus_rate(const CostModel& model, CollectiveKind kind, const GroupTopology& group, double factor,
                CollectiveAlgorithm algorithm = CollectiveAlgorithm::kAuto) {
  const Bytes size(1LL << 30);
  return factor * size.value() / model.collective(kind, group, size, algorithm).time.value() / 1e9;
}

TEST(CostModel, HopperAnchors) {
  const ClusterView view = preset("h100", 8);
  const CostModel model(view);
  const double tflops = 2.0 * 8192 * 8192 * 8192 / model.gemm(0, {.m = 8192, .n = 8192, .k = 8192}).time.value() / 1e12;
  EXPECT_GT(tflops, 640);
  EXPECT_LT(tflops, 760);
  const GroupTopology node(view, rank_list(8));
  EXPECT_NEAR(bus_rate(model, CollectiveKind::kAllReduce, node, 1.75), 475, 25);
  EXPECT_NEAR(bus_rate(model, CollectiveKind::kAllReduce, node, 1.75, CollectiveAlgorithm::kRing), 365, 15);
  EXPECT_NEAR(bus_rate(model, CollectiveKind::kAllToAll, node, 0.875), 325, 25);
  const GroupTopology all(view, rank_list(64));
  EXPECT_NEAR(bus_rate(model, CollectiveKind::kAllGather, all, 63.0 / 64), 340, 30);  // 8 x 40 to 46 GB/s
}

TEST(CostModel, AlgorithmsThatDoNotApplyFallBackAndSaySo) {
  const ClusterView view = two_tier_view(1, 4);
  const CostModel model(view, {round_parameters()});
  const GroupTopology group(view, rank_list(4));
  CollectiveAlgorithm chosen{};
  static_cast<void>(
      model.collective(CollectiveKind::kAllGather, group, Bytes(1000), CollectiveAlgorithm::kSwitch, &chosen));
  EXPECT_EQ(chosen, CollectiveAlgorithm::kRing);
  static_cast<void>(
      model.collective(CollectiveKind::kAllToAll, group, Bytes(1000), CollectiveAlgorithm::kTree, &chosen));
  EXPECT_EQ(chosen, CollectiveAlgorithm::kPairwise);
}

TEST(CostModel, OneRankCommunicatesForFree) {
  const ClusterView view = two_tier_view(1, 4);
  const CostModel model(view);
  const GroupTopology group(view, rank_list(1));
  for (const auto kind : {CollectiveKind::kAllReduce, CollectiveKind::kAllToAll, CollectiveKind::kSendRecv})
    EXPECT_EQ(model.collective(kind, group, Bytes(1 << 20)).time.value(), 0);
  const std::vector<std::int64_t> own = {1 << 20};
  EXPECT_EQ(model.all_to_all_v(group, {.bytes = own, .ranks = 1}).time.value(), 0);
}

TEST(CostModel, CollectivesNeverBeatThePortsAndGrowWithSize) {
  for (const std::string& name : preset_names()) {
    const ClusterView view = preset(name, 0).nodes() > 1 ? preset(name, 0) : preset(name, 2);
    const CostModel model(view);
    const GroupTopology group(view, rank_list(view.ranks()));
    for (const auto kind : {CollectiveKind::kAllReduce, CollectiveKind::kAllGather, CollectiveKind::kReduceScatter,
                            CollectiveKind::kAllToAll, CollectiveKind::kBroadcast}) {
      double previous = 0;
      for (std::int64_t size = 1; size < (1LL << 33); size *= 2) {
        const CommCost cost = model.collective(kind, group, Bytes(size));
        EXPECT_GE(cost.time.value(), previous) << name << ' ' << collective_name(kind) << ' ' << size;
        for (int tier = 0; tier < group.tiers(); ++tier) {
          EXPECT_LE(cost.port_share[static_cast<std::size_t>(tier)], 1.0F);
          EXPECT_GE(cost.time.value(),
                    cost.busiest_rank_bytes[static_cast<std::size_t>(tier)] / view.tier(tier).ports[0].out.value());
        }
        previous = cost.time.value();
      }
    }
  }
}

TEST(CostModel, ProvenanceNamesEveryLaw) {
  const ClusterView view = preset("h100", 2);
  const CostModel model(view);
  for (const LawProvenance& entry : model.provenance()) {
    EXPECT_FALSE(entry.provenance.source.empty()) << entry.law;
    EXPECT_EQ(entry.device, "H100-SXM5-80GB");
  }
  EXPECT_DOUBLE_EQ(model.expected_relative_error(), 0.15);  // nothing fitted
  EXPECT_DOUBLE_EQ(model.compute_slowdown_beside_communication(0), 132.0 / 112);
  EXPECT_DOUBLE_EQ(model.as_issued(0, 2, {}).time.value(), 12e-6);
}

}  // namespace
}  // namespace moesim
