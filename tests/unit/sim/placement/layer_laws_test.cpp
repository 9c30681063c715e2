// The price of a placement beside the cost model it is made from.
#include "sim/placement/layer_laws.hpp"

#include "models/cluster/cluster_source.hpp"
#include "models/cluster/topology.hpp"
#include "placement_testing.hpp"

namespace moesim {
namespace {

struct ClusterCase {
  const char* preset;
  int nodes;
  int devices;
};

TEST(LayerLaws, ExchangesCostWhatTheCostModelSays) {
  for (const ClusterCase& c : {ClusterCase{"preset:h100", 2, 16}, ClusterCase{"preset:rtx2080ti", 2, 8},
                               ClusterCase{"preset:mi300x", 1, 8}, ClusterCase{"preset:a100-pcie", 2, 4}}) {
    const Result<ClusterSpec> spec = load_cluster(c.preset, c.nodes);
    ASSERT_TRUE(spec) << c.preset << ": " << spec.error().what;
    const Result<ClusterView> view = compile(*spec);
    ASSERT_TRUE(view) << c.preset;
    const CostModel costs(*view);
    std::vector<RankId> ranks;
    for (int i = 0; i < c.devices; ++i) ranks.emplace_back(i);
    LayerLawRequest request;
    request.hidden = 2048;
    request.moe.experts = 2 * c.devices;
    request.moe.top_k = 2;
    request.moe.expert = {.width = 4096, .gated = false};
    request.precision = *find_precision("bf16");
    request.largest_rows = 1 << 20;
    const Result<LayerTimeModel> model = layer_time_model(costs, ranks, request);
    ASSERT_TRUE(model) << model.error().what;
    EXPECT_EQ(model->row, Bytes(4096));
    EXPECT_EQ(model->expert.weights, Bytes(2 * 2 * 2048 * 4096));
    EXPECT_EQ(model->expert.optimizer, Bytes(12 * 2 * 2048 * 4096));
    LayerTimer timer(*model);
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
      const OwnedCounts counts = random_counts(c.devices, 2 * c.devices, seed);
      const PlacementDecision decision{
          ExpertPlacement::contiguous({c.devices, 2 * c.devices, 2}), {}, TokenSplit::kLocality};
      const double priced = timer.time(counts.view(), decision).exchange.value();
      std::vector<std::int64_t> bytes;
      for (const double copies : copy_matrix(timer.router().route(counts.view(), decision)))
        bytes.push_back(static_cast<std::int64_t>(copies) * 4096);
      const double law = costs.all_to_all_v(costs.topology(ranks), {bytes, c.devices}).time.value();
      EXPECT_NEAR(priced / (4 * law), 1, 0.01) << c.preset << ", seed " << seed;
    }
  }
}

TEST(LayerLaws, ComputationIsThatOfTheGroupedProducts) {
  const Result<ClusterSpec> spec = load_cluster("preset:h100", 1);
  ASSERT_TRUE(spec);
  const Result<ClusterView> view = compile(*spec);
  ASSERT_TRUE(view);
  const CostModel costs(*view);
  const std::vector<RankId> ranks = {RankId(0), RankId(1)};
  LayerLawRequest request;
  request.hidden = 2048;
  request.moe.experts = 4;
  request.moe.expert = {.width = 4096, .gated = true};
  request.precision = *find_precision("bf16");
  request.largest_rows = 8192;
  const Result<LayerTimeModel> model = layer_time_model(costs, ranks, request);
  ASSERT_TRUE(model);
  const std::vector<std::int64_t> rows = {2048, 2048};
  GroupedGemmWork work{.rows = rows, .n = 8192, .k = 2048};
  double seconds = costs.grouped_gemm(0, work).time.value();
  work.n = 2048, work.k = 8192;
  seconds += costs.grouped_gemm(0, work).time.value();
  work.reduce_rows = true, work.output = DType::kFp32;
  seconds += costs.grouped_gemm(0, work).time.value();
  GroupedGemmWork down{.rows = rows, .n = 2048, .k = 4096};
  seconds += costs.grouped_gemm(0, down).time.value();
  down.n = 4096, down.k = 2048;
  seconds += costs.grouped_gemm(0, down).time.value();
  down.reduce_rows = true, down.output = DType::kFp32;
  seconds += costs.grouped_gemm(0, down).time.value();
  EXPECT_NEAR(model->compute.at(4096) / seconds, 1, 1e-9);
}

}  // namespace
}  // namespace moesim
