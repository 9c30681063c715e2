// SmartMoE's offline question on its own recording: which layout, for which gate, on 16 and 32 A100 in nodes of 8 (figure 8 of its artifact,
// cluster "inky"; neither links nor memory are stated, nor the experts' width, which is taken as twice the model's). Whole steps, simulated
// with the gate's recorded choices; measured milliseconds of 200 iterations beside them. The recording has 32 experts: for the model
// of 16, each of them is two neighbours.
#include <cmath>

#include "models/cluster/cluster_source.hpp"
#include "models/cluster/topology.hpp"
#include "models/shape/model_source.hpp"
#include "placement_testing.hpp"
#include "sim/simulate/step.hpp"
#include "traces/import.hpp"

namespace moesim {
namespace {

ModelShape gpt_of_the_artifact(int experts) {
  MoeShape moe;
  moe.experts = experts;
  moe.top_k = 2;
  moe.expert = {.width = 5120, .gated = false, .bias = true};
  LayerShape layer;
  layer.attention = {
      .heads = 32, .kv_heads = 32, .head_dim = 80, .value_head_dim = 80, .qkv_bias = true, .out_bias = true};
  layer.moe = moe;
  ModelShape model;
  model.name = "GPT-L16-H2560-E" + std::to_string(experts);
  model.model_type = "gpt_moe";
  model.hidden = 2560;
  model.vocab = 50304;
  model.tied_embeddings = true;
  model.norm_bias = true;
  model.learned_positions = 1024;
  for (int i = 0; i < 16; ++i) append_layer(model, layer);
  return model;
}

// Experts 2 i and 2 i + 1 as one.
SelectionTrace in_pairs(const SelectionTrace& trace) {
  const TraceDims dims = trace.dims();
  SelectionTrace result(trace.iterations(), trace.layers(), trace.micro_batches(), trace.source_ranks(),
                        dims.experts / 2);
  result.info = trace.info;
  for (int step = 0; step < dims.steps; ++step)
    for (int layer = 0; layer < dims.layers; ++layer)
      for (int micro_batch = 0; micro_batch < dims.micro_batches; ++micro_batch)
        for (int rank = 0; rank < dims.source_ranks; ++rank) {
          const auto from = trace.counts(step, layer, micro_batch, rank);
          const auto to = result.counts(step, layer, micro_batch, rank);
          for (std::size_t e = 0; e < to.size(); ++e) to[e] = from[2 * e] + from[2 * e + 1];
        }
  return result;
}

struct Skeleton {
  int pp;
  int dp;
  int ep;
};
constexpr Skeleton kAlpa{4, 8, 8};

// A gate's capacity factor (0: nothing is dropped), the artifact's winner, and what was measured.
struct Gate {
  double capacity;
  Skeleton smartmoe;
  double measured_fastmoe;
  double measured_smartmoe;
};

class OfflineSkeletons : public testing::Test {
 protected:
  void SetUp() override {
    const std::string path = smartmoe_file("smartmoe_trace.tar.zst");
    if (path.empty()) GTEST_SKIP() << "the SmartMoE artifact's recording is not beside the checkout";
    Result<LoadedTrace> loaded = load_trace(path);
    ASSERT_TRUE(loaded) << loaded.error().what;
    recording_ = std::move(loaded->trace);
    on(32);
  }
  // So many GPUs and experts.
  void on(int gpus) {
    const Result<LoadMapper> mapper = LoadMapper::create(gpus == 16 ? in_pairs(recording_) : recording_, -1);
    ASSERT_TRUE(mapper) << mapper.error().what;
    loads_ = *mapper;
    gpus_ = gpus;
    model_ = gpt_of_the_artifact(gpus);
    costs_.reset();
    Result<ClusterView> view = compile(load_cluster("preset:a100", gpus / 8).value());
    ASSERT_TRUE(view) << view.error().what;
    view_ = std::make_unique<ClusterView>(std::move(*view));
    costs_ = std::make_unique<CostModel>(*view_);
    ASSERT_TRUE(check(model_)) << check(model_).error().what;
  }
  // Seconds of a step; 0 capacity: nothing is dropped.
  double step(const Skeleton& skeleton, double capacity, const LoadMapper* loads) const {
    Plan plan;
    plan.layout.sizes.pp = skeleton.pp;
    plan.layout.sizes.dp = skeleton.dp;
    plan.layout.sizes.ep = skeleton.ep;
    plan.layout.sizes.edp = skeleton.dp / skeleton.ep;
    plan.seq_length = 1024;
    plan.micro_batch = 4;
    plan.global_batch = 16 * gpus_;
    plan.precision = "fp16";
    plan.capacity_factor = capacity;
    plan.zero_dense = plan.zero_expert = ZeroStage::kNone;
    plan.overlap_grad_reduce = plan.overlap_param_gather = false;
    const Result<SimulatedStep> result = simulate_step(plan, model_, *costs_, loads, {});
    EXPECT_TRUE(result) << result.error().what;
    return result ? result->metrics.step_time.value() : 0;
  }
  // FastMoE's one large expert group against the winner of each gate: the winner is faster in all, and by more the more the gate may pile
  // up. How far the speed-ups are off, in the mean over the gates.
  double expect_winners(const std::vector<Gate>& gates) const {
    double last = 0;
    double error = 0;
    for (const Gate& gate : gates) {
      const double fastmoe = step({1, gpus_, gpus_}, gate.capacity, &*loads_);
      const double smartmoe = step(gate.smartmoe, gate.capacity, &*loads_);
      const double speedup = fastmoe / smartmoe;
      const double measured = gate.measured_fastmoe / gate.measured_smartmoe;
      std::printf("%d GPUs, capacity %.1f: %.2f s and %.2f s, %.2fx; measured %.2fx\n", gpus_, gate.capacity, fastmoe,
                  smartmoe, speedup, measured);
      EXPECT_GT(speedup, 1) << gate.capacity;
      EXPECT_GT(speedup, last) << gate.capacity;
      last = speedup;
      error += std::abs(speedup / measured - 1) / static_cast<double>(gates.size());
    }
    return error;
  }

  SelectionTrace recording_;
  int gpus_ = 0;
  ModelShape model_;
  std::optional<LoadMapper> loads_;
  std::unique_ptr<ClusterView> view_;
  std::unique_ptr<CostModel> costs_;
};

TEST_F(OfflineSkeletons, Figure8PipelinesWithSmallExpertGroupsWin) {
  expect_winners({{1.2, {8, 4, 4}, 3539, 3340},
                  {2.4, {8, 4, 2}, 4986, 3689},
                  {4.8, {8, 4, 4}, 6293, 3796},
                  {0, {8, 4, 2}, 12489, 4677}});
}

TEST_F(OfflineSkeletons, Figure8On16Gpus) {
  on(16);
  const double error = expect_winners({{1.2, {2, 8, 8}, 2902, 1957},
                                       {2.4, {2, 8, 8}, 3586, 2302},
                                       {4.8, {4, 4, 2}, 4041, 2498},
                                       {0, {4, 4, 2}, 6127, 2798}});
  EXPECT_LT(error, 0.35);  // mostly where the gate may pile up: 2.5 and 3.2 for 1.6 and 2.2
}

// What the gate chose decides: a planner that takes routing as balanced puts 4/8/8/1 first of the two, and without a capacity limit
// 8/4/2/2 was measured 1.13 times as fast.
TEST_F(OfflineSkeletons, ADataBlindPlannerChoosesOtherwise) {
  const Skeleton smartmoe{8, 4, 2};
  EXPECT_LT(step(kAlpa, 0, nullptr), step(smartmoe, 0, nullptr));
  EXPECT_GT(step(kAlpa, 0, &*loads_), step(smartmoe, 0, &*loads_));
}

}  // namespace
}  // namespace moesim
