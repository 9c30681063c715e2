// SmartMoE's offline question on its own recording: which layout, for which gate, on 16 and 32 A100 in nodes of 8 (figure 8 of its artifact,
// cluster "inky"; its links are not stated; its planner takes 80 GB a device and experts twice as wide as the model). Whole steps,
// simulated with the gate's recorded choices; measured milliseconds of 200 iterations beside them. The recording has 32 experts: for
// the model of 16, each of them is two neighbours. What was printed stands in docs/placement.md.
#include <array>
#include <cmath>
#include <limits>

#include "models/cluster/cluster_source.hpp"
#include "models/cluster/topology.hpp"
#include "models/shape/model_source.hpp"
#include "placement_testing.hpp"
#include "sim/memory/memory_walk.hpp"
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

// A gate's capacity factor (0: nothing is dropped), SmartMoE's layout, and the bars: milliseconds of a step, the mean of 200.
enum System : std::size_t { kFastMoe, kDeepSpeed, kFasterMoe, kSmartMoe, kSystems };
constexpr std::array<const char*, kSystems> kNames = {"FastMoE", "DeepSpeed", "FasterMoE", "SmartMoE"};
struct Gate {
  double capacity;
  Skeleton smartmoe;
  std::array<double, kSystems> measured;
};
const std::vector<Gate> kOn16 = {{1.2, {2, 8, 8}, {2902, 3332, 2880, 1957}},
                                 {2.4, {2, 8, 8}, {3586, 4455, 3618, 2302}},
                                 {4.8, {4, 4, 2}, {4041, 6620, 4009, 2498}},
                                 {0, {4, 4, 2}, {6127, 5615, 5261, 2798}}};
const std::vector<Gate> kOn32 = {{1.2, {8, 4, 4}, {3539, 4418, 3225, 3340}},
                                 {2.4, {8, 4, 2}, {4986, 5780, 5020, 3689}},
                                 {4.8, {8, 4, 4}, {6293, 8940, 6376, 3796}},
                                 {0, {8, 4, 2}, {12489, 9789, 8256, 4677}}};

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
  // Capacity 0: nothing is dropped.
  [[nodiscard]] Plan plan_of(const Skeleton& skeleton, double capacity) const {
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
    return plan;
  }
  [[nodiscard]] StepMetrics simulated(const Plan& plan, const LoadMapper* loads) const {
    const Result<SimulatedStep> result = simulate_step(plan, model_, *costs_, loads, {});
    EXPECT_TRUE(result) << result.error().what;
    return result ? result->metrics : StepMetrics();
  }
  // Seconds of a step.
  [[nodiscard]] double step(const Plan& plan) const { return simulated(plan, &*loads_).step_time.value(); }
  [[nodiscard]] double step(const Skeleton& skeleton, double capacity, const LoadMapper* loads) const {
    return simulated(plan_of(skeleton, capacity), loads).step_time.value();
  }

  [[nodiscard]] Plan one_group(double capacity) const { return plan_of({1, gpus_, gpus_}, capacity); }
  // Two sequences a micro-batch; a capacity is filled up, as its dispatch by matrix products does it. Width and number of experts a token
  // are left to defaults by its launch script; here they are the others'.
  [[nodiscard]] double deepspeed(double capacity) const {
    Plan plan = one_group(capacity);
    plan.micro_batch = 2;
    plan.pad_to_capacity = capacity > 0;
    return step(plan);
  }
  // In the number of steps and with as many shadowed experts as take least.
  struct FasterMoe {
    double seconds = std::numeric_limits<double>::infinity();
    int degree = 0;
    int shadows = 0;
  };
  [[nodiscard]] FasterMoe fastermoe(double capacity, const std::vector<int>& numbers_of_shadows) const {
    FasterMoe best;
    for (const int degree : {1, 2, 4, 8})
      for (const int shadows : numbers_of_shadows) {
        Plan plan = one_group(capacity);
        plan.moe_schedule = "fastermoe";
        plan.moe_degree = degree;
        plan.moe_shadows = shadows;
        const double seconds = step(plan);
        if (seconds < best.seconds) best = {seconds, degree, shadows};
      }
    return best;
  }

  struct Comparison {
    int pairs = 0;  // of two systems under one gate
    int in_order = 0;
    double error = 0;  // of the speed-ups of SmartMoE over FastMoE, mean over gates
  };
  [[nodiscard]] Comparison compare(const std::vector<Gate>& gates) const {
    Comparison result;
    double last = 0;
    for (const Gate& gate : gates) {
      const FasterMoe faster = fastermoe(gate.capacity, {0, 1, 2, 4});
      const std::array<double, kSystems> bars = {step(one_group(gate.capacity)), deepspeed(gate.capacity),
                                                 faster.seconds, step(gate.smartmoe, gate.capacity, &*loads_)};
      std::printf("%d GPUs, capacity %.1f:", gpus_, gate.capacity);
      for (std::size_t a = 0; a < kSystems; ++a) {
        std::printf(" %s %.2f (%.2f),", kNames[a], bars[a], gate.measured[a] / 1000);
        for (std::size_t b = 0; b < a; ++b) {
          ++result.pairs;
          const bool agree = (bars[a] < bars[b]) == (gate.measured[a] < gate.measured[b]);
          result.in_order += agree ? 1 : 0;
          if (!agree) std::printf(" [not as measured: %s and %s]", kNames[b], kNames[a]);
        }
      }
      std::printf(" FasterMoE in %d steps with %d shadows, without any %.2f\n", faster.degree, faster.shadows,
                  fastermoe(gate.capacity, {0}).seconds);
      const double speedup = bars[kFastMoe] / bars[kSmartMoe];
      EXPECT_GT(speedup, 1) << gate.capacity;
      EXPECT_GT(speedup, last) << gate.capacity;  // the more the gate may pile up
      last = speedup;
      const double measured = gate.measured[kFastMoe] / gate.measured[kSmartMoe];
      result.error += std::abs(speedup / measured - 1) / static_cast<double>(gates.size());
    }
    return result;
  }

  // What the offline stage picks: the fastest skeleton that fits into half of 80 GB, as in the artifact's planner.
  [[nodiscard]] Skeleton pick(double capacity) const {
    Skeleton best{};
    double least = std::numeric_limits<double>::infinity();
    for (const int pp : {1, 2, 4, 8})
      for (int ep = 1; ep <= gpus_ / pp; ep *= 2) {
        const Skeleton skeleton{pp, gpus_ / pp, ep};
        const StepMetrics metrics = simulated(plan_of(skeleton, capacity), &*loads_);
        if (fits(metrics.peak_memory, Bytes(40'000'000'000)) && metrics.step_time.value() < least)
          best = skeleton, least = metrics.step_time.value();
      }
    return best;
  }
  void expect_deeper_pipelines(const std::vector<Gate>& gates) const {
    int last = 0;
    for (const Gate& gate : gates) {
      const Skeleton ours = pick(gate.capacity);
      const double ratio = step(gate.smartmoe, gate.capacity, &*loads_) / step(ours, gate.capacity, &*loads_);
      std::printf("%d GPUs, capacity %.1f: %d/%d/%d/%d is picked, SmartMoE's %d/%d/%d/%d takes %.2f as long\n", gpus_,
                  gate.capacity, ours.pp, ours.dp, ours.ep, ours.dp / ours.ep, gate.smartmoe.pp, gate.smartmoe.dp,
                  gate.smartmoe.ep, gate.smartmoe.dp / gate.smartmoe.ep, ratio);
      EXPECT_GE(ours.pp, last) << gate.capacity;
      EXPECT_LT(ratio, 1.6) << gate.capacity;
      last = ours.pp;
    }
  }

  SelectionTrace recording_;
  int gpus_ = 0;
  ModelShape model_;
  std::optional<LoadMapper> loads_;
  std::unique_ptr<ClusterView> view_;
  std::unique_ptr<CostModel> costs_;
};

TEST_F(OfflineSkeletons, Figure8On32Gpus) {
  const Comparison bars = compare(kOn32);
  EXPECT_EQ(bars.pairs, 24);
  EXPECT_GE(bars.in_order, 20);
}

TEST_F(OfflineSkeletons, Figure8On16Gpus) {
  on(16);
  const Comparison bars = compare(kOn16);
  EXPECT_GE(bars.in_order, 19);
  EXPECT_LT(bars.error, 0.35);  // mostly where the gate may pile up: 2.5 and 3.2 for 1.6 and 2.2
}

TEST_F(OfflineSkeletons, TheMoreAGateMayPileUpTheDeeperThePipeline) {
  expect_deeper_pipelines(kOn32);
  on(16);
  expect_deeper_pipelines(kOn16);
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
