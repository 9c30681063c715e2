#include "sim/placement/online_step.hpp"

#include <gmock/gmock.h>

#include "models/cluster/cluster_source.hpp"
#include "models/shape/model_source.hpp"
#include "placement_testing.hpp"

namespace moesim {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::size_t index_of(Category category) { return static_cast<std::size_t>(category); }

const PlacementPolicy& online_policy(std::string_view name) { return **find_placement_policy(name); }

// 100 s: 30 experts, 10 exposed exchange, 40 attention, 20 bubble.
StepMetrics worked_step() {
  StepMetrics step;
  step.step_time = Seconds(100);
  step.breakdown.compute[index_of(Category::kExperts)] = Seconds(30);
  step.breakdown.exposed[index_of(Category::kEpComm)] = Seconds(10);
  step.breakdown.compute[index_of(Category::kAttention)] = Seconds(40);
  step.breakdown.exposed[index_of(Category::kPpComm)] = Seconds(20);
  return step;
}

// Two devices, experts {0, 1 | 2, 3}, the first two four times as popular; records at iterations 0, 10 and 20, all alike. One
// micro-batch under one_tier_model(2): 48 s, after greedy's {0, 3 | 1, 2} 30 s; the switch takes 8 s (replay_test.cpp).
SelectionTrace two_hot_of_four(int layers) {
  std::vector<std::int32_t> labels;
  for (int layer = 0; layer < layers; ++layer) labels.push_back(layer);
  SelectionTrace trace({0, 10, 20}, labels, {0}, {0, 1}, 4);
  for (int step = 0; step < 3; ++step)
    for (int layer = 0; layer < layers; ++layer)
      for (int rank = 0; rank < 2; ++rank) {
        const auto row = trace.counts(step, layer, 0, rank);
        row[0] = row[1] = 4;
        row[2] = row[3] = 1;
      }
  return trace;
}

ReplayTrace two_devices(const SelectionTrace& trace) {
  Result<ReplayTrace> result = ReplayTrace::map(trace, {.devices = 2, .top_k = 2});
  if (!result) ADD_FAILURE() << result.error().what;
  return result ? std::move(*result) : ReplayTrace();
}

TEST(OnlineStep, WorkedCombination) {
  const OnlineStep online = combine(worked_step(), {Seconds(15), Seconds(12), Seconds(3)});
  EXPECT_DOUBLE_EQ(online.moe.value(), 50);
  EXPECT_DOUBLE_EQ(online.moe_ratio, 0.8);
  EXPECT_DOUBLE_EQ(online.step_time.value(), 93);
}

TEST(OnlineStep, WhatIsNotThePipelineGetsNoShareOfTheBubble) {
  StepMetrics step = worked_step();
  step.step_time = Seconds(120);
  step.breakdown.compute[index_of(Category::kOptimizer)] = Seconds(8);
  step.breakdown.exposed[index_of(Category::kDpComm)] = Seconds(7);
  step.breakdown.other = Seconds(5);
  EXPECT_DOUBLE_EQ(combine(step, {Seconds(15), Seconds(12), Seconds(0)}).step_time.value(), 110);
}

// From the recording to the step: layers of 48 s a step without and (10 * 48 + 20 * 30) / 30 = 36 s with greedy, 8 s once in 30
// iterations: 100 - 50 * (1 - 36 / 48) + 8 / 30 = 87.7667 s. Two layers on one stage: the same ratio, twice the switching.
TEST(OnlineStep, WorkedFromTheRecording) {
  const LayerTimeModel model = one_tier_model(2);
  for (const int layers : {1, 2}) {
    const SelectionTrace recording = two_hot_of_four(layers);
    const ReplayTrace trace = two_devices(recording);
    const PolicyReplay still = replay_policy(trace, model, online_policy("contiguous"), {});
    const PolicyReplay moving = replay_policy(trace, model, online_policy("greedy"), {});
    const std::vector<std::vector<double>> one_stage{std::vector<double>(static_cast<std::size_t>(layers), 1.0)};
    const StageTimes times = stage_times(one_stage, still, moving, total_weight(trace));
    EXPECT_DOUBLE_EQ(times.start.value(), 48 * layers);
    EXPECT_DOUBLE_EQ(times.policy.value(), 36 * layers);
    EXPECT_DOUBLE_EQ(combine(worked_step(), times).step_time.value(), 100 - 12.5 + 8.0 * layers / 30);
  }
}

LayerTotals layer_totals(double mean, double switching) {
  const PlacementDecision any{ExpertPlacement::contiguous({2, 4, 2}), {}, TokenSplit::kLocality};
  return {Seconds(mean), Seconds(switching), any};
}

TEST(OnlineStep, TheSlowestStageCounts) {
  PolicyReplay still;
  PolicyReplay moving;
  still.layers = {layer_totals(4, 0), layer_totals(6, 0)};
  moving.layers = {layer_totals(5, 0), layer_totals(3, 10)};
  const StageTimes apart = stage_times({{1, 0}, {0, 1}}, still, moving, 20);
  EXPECT_EQ(apart.start, Seconds(6));
  EXPECT_EQ(apart.policy, Seconds(5));
  EXPECT_EQ(apart.switching, Seconds(0.5));
  const StageTimes halves = stage_times({{0.5, 0.5}, {0.5, 0.5}}, still, moving, 20);
  EXPECT_EQ(halves.start, Seconds(5));
  EXPECT_EQ(halves.policy, Seconds(4));
  EXPECT_EQ(halves.switching, Seconds(0.5));  // experts move once for both directions
}

class OnlinePlanTest : public testing::Test {
 protected:
  OnlinePlanTest() : view_(*compile(*load_cluster("preset:h100", 1))), costs_(view_) {
    model_ = load_model("zoo:olmoe-1b-7b")->shape;
    model_.layers.resize(4);
    plan_.layout.sizes = {.pp = 2, .dp = 4, .ep = 4};
    plan_.global_batch = 48;
  }
  // The first eight of 64 experts take most; what is hot changes at the last step.
  [[nodiscard]] static SelectionTrace recording() {
    SelectionTrace trace({0, 10, 20, 30}, {0, 1, 2, 3}, {0, 1}, {0, 1, 2, 3}, 64);
    for (int step = 0; step < 4; ++step)
      for (int layer = 0; layer < 4; ++layer)
        for (int micro_batch = 0; micro_batch < 2; ++micro_batch)
          for (int rank = 0; rank < 4; ++rank)
            for (std::size_t e = 0; e < 64; ++e)
              trace.counts(step, layer, micro_batch, rank)[e] = e / 8 == (step < 3 ? 0U : 3U) ? 50 : 2;
    return trace;
  }
  [[nodiscard]] StepMetrics simulated(const SelectionTrace& trace) const {
    Result<LoadMapper> mapper = LoadMapper::create(trace, -1);
    const Result<SimulatedStep> step = simulate_step(plan_, model_, costs_, &*mapper, {});
    if (!step) ADD_FAILURE() << step.error().what;
    return step ? step->metrics : StepMetrics();
  }

  ClusterView view_;
  CostModel costs_;
  ModelShape model_;
  Plan plan_;
};

TEST_F(OnlinePlanTest, LayersStandWhereTheSchedulePutsThem) {
  EXPECT_THAT(*layers_of_stages(plan_, model_), ElementsAre(ElementsAre(1, 1, 0, 0), ElementsAre(0, 0, 1, 1)));
  plan_.pipeline = "interleaved";
  plan_.layout.sizes.vpp = 2;
  const auto interleaved = layers_of_stages(plan_, model_);
  ASSERT_TRUE(interleaved) << interleaved.error().hint;
  EXPECT_THAT(*interleaved, ElementsAre(ElementsAre(1, 0, 1, 0), ElementsAre(0, 1, 0, 1)));
  plan_.pipeline = "dualpipe";
  const auto both_ways = layers_of_stages(plan_, model_);
  ASSERT_TRUE(both_ways) << both_ways.error().hint;
  EXPECT_THAT(*both_ways, ElementsAre(ElementsAre(0.5, 0.5, 0.5, 0.5), ElementsAre(0.5, 0.5, 0.5, 0.5)));
}

TEST_F(OnlinePlanTest, ReplayOfAPlanHasItsGroupsAndBatch) {
  plan_.layout.sizes = {.tp = 2, .dp = 4, .ep = 4, .esp = 2};
  const Result<PlanReplay> replay = replay_of_plan(plan_, model_, costs_, recording());
  ASSERT_TRUE(replay) << replay.error().what;
  EXPECT_EQ(replay->trace.devices(), 4);
  EXPECT_EQ(replay->trace.tokens_per_device(), 4096);  // half a sequence for each of two shards
  EXPECT_EQ(replay->trace.micro_batches(), 2);
  EXPECT_EQ(replay->repeats, 6);              // 12 micro-batches
  EXPECT_EQ(replay->model.row, Bytes(2048));  // half of 2048 numbers in bf16
  EXPECT_EQ(replay->model.expert.weights, Bytes(3 * 2048 * 512 * 2));
}

TEST_F(OnlinePlanTest, AStaticPolicyChangesNothing) {
  const SelectionTrace trace = recording();
  const StepMetrics fixed = simulated(trace);
  const Result<OnlineStep> online = online_step(plan_, fixed, model_, costs_, trace, online_policy("contiguous"), {});
  ASSERT_TRUE(online) << online.error().what;
  EXPECT_EQ(online->step_time, fixed.step_time);
  EXPECT_GT(online->moe, Seconds(0));
  EXPECT_LT(online->moe, fixed.step_time);
}

TEST_F(OnlinePlanTest, APlanWithSlotsStartsFromThem) {
  const SelectionTrace trace = recording();
  const auto changes_of = [&](const Plan& plan) {
    const Result<OnlineStep> online =
        online_step(plan, simulated(trace), model_, costs_, trace, online_policy("greedy"), {});
    EXPECT_TRUE(online) << online.error().what;
    return online ? online->changes : -1;
  };
  // Contiguous: once when the hot experts of the first device are dealt out, in four layers.
  EXPECT_EQ(changes_of(plan_), 4);
  // Dealt out already, each device has two of either eight.
  Plan dealt = plan_;
  std::vector<std::int32_t> slots;
  for (std::int32_t device = 0; device < 4; ++device)
    for (std::int32_t i = 0; i < 16; ++i) slots.push_back(device + 4 * i);
  dealt.expert_slots.expert_at.assign(4, slots);
  EXPECT_EQ(changes_of(dealt), 0);
}

TEST_F(OnlinePlanTest, OneExpertGroupHasNothingToMove) {
  plan_.layout.sizes = {.pp = 2, .dp = 4, .edp = 4};
  const SelectionTrace trace = recording();
  const StepMetrics fixed = simulated(trace);
  const Result<OnlineStep> online = online_step(plan_, fixed, model_, costs_, trace, online_policy("greedy"), {});
  ASSERT_TRUE(online) << online.error().what;
  EXPECT_EQ(online->step_time, fixed.step_time);
}

TEST_F(OnlinePlanTest, SpareSlotsNeedMemory) {
  const SelectionTrace trace = recording();
  PlacementReplayOptions options;
  options.spare_slots = 1;
  const StepMetrics fixed = simulated(trace);
  const Result<OnlineStep> one = online_step(plan_, fixed, model_, costs_, trace, online_policy("flex"), options);
  ASSERT_TRUE(one) << one.error().what;
  // Two MoE layers a stage; three matrices of 2048 x 1024 in bf16 with gradients in fp32.
  EXPECT_EQ(one->spare, Bytes(2 * 3 * 2048 * 1024 * (2 + 4)));
  options.spare_slots = 1024;  // 72 GiB
  const Result<OnlineStep> many = online_step(plan_, fixed, model_, costs_, trace, online_policy("flex"), options);
  ASSERT_FALSE(many);
  EXPECT_THAT(many.error().what, HasSubstr("its spare slots take 72.0 GiB"));
}

// Experts 0 and 16 change places between the first two devices of stage 0, in one layer and in both; 3 * 2048 * 1024 parameters.
TEST_F(OnlinePlanTest, ASwitchOfThePlanByStage) {
  constexpr std::int64_t kParameters = 3 * 2048 * 1024;
  std::vector<std::int32_t> in_order;
  for (std::int32_t e = 0; e < 64; ++e) in_order.push_back(e);
  std::vector<std::int32_t> changed = in_order;
  std::swap(changed[0], changed[16]);
  const auto switched = [&](std::vector<std::vector<std::int32_t>> next) {
    const Result<PlanSwitch> result = switch_of_plan(plan_, {std::move(next)}, model_, costs_);
    EXPECT_TRUE(result) << result.error().what;
    return result ? *result : PlanSwitch();
  };
  const PlanSwitch one = switched({changed, in_order, in_order, in_order});
  const PlanSwitch two = switched({changed, changed, in_order, in_order});
  const PlanSwitch apart = switched({changed, in_order, changed, in_order});
  EXPECT_EQ(one.sent, Bytes(kParameters * (2 + 4 + 4 + 4)));
  EXPECT_EQ(two.sent, one.sent * 2);
  EXPECT_EQ(apart.sent, one.sent);
  EXPECT_GT(one.time, Seconds(0));
  EXPECT_EQ(two.time, one.time * 2);
  EXPECT_EQ(apart.time, one.time);  // stages switch beside each other
  EXPECT_EQ(switched({in_order, in_order, in_order, in_order}).sent, Bytes(0));
  plan_.precision = "fp32";  // weights are their own masters
  EXPECT_EQ(switched({changed, in_order, in_order, in_order}).sent, Bytes(kParameters * (4 + 4 + 4)));
}

TEST(PlanReplay, StartAndRepeatsAreTakenOver) {
  const SelectionTrace recording = two_hot_of_four(1);
  const ReplayTrace trace = two_devices(recording);
  const LayerTimeModel model = one_tier_model(2);
  PlacementReplayOptions options;
  options.start.expert_at = {{0, 3, 1, 2}};
  options.repeats = 2;
  for (const int spare : {0, 1}) {
    options.spare_slots = spare;
    const PolicyReplay still = replay_policy(trace, model, online_policy("contiguous"), options);
    EXPECT_EQ(still.mean_iteration, Seconds(60));
    EXPECT_EQ(still.layers[0].mean_iteration, Seconds(60));
  }
}

TEST(PlanReplay, SlotsAfterTheLastRecord) {
  const SelectionTrace recording = two_hot_of_four(2);
  const ReplayTrace trace = two_devices(recording);
  const LayerTimeModel model = one_tier_model(2);
  const Result<ExpertSlots> moved = slots_after(replay_policy(trace, model, online_policy("greedy"), {}));
  ASSERT_TRUE(moved) << moved.error().what;
  EXPECT_THAT(moved->expert_at, ElementsAre(ElementsAre(0, 3, 2, 1), ElementsAre(0, 3, 2, 1)));
  PlacementReplayOptions options;
  options.spare_slots = 1;
  const Result<ExpertSlots> copies = slots_after(replay_policy(trace, model, online_policy("eplb-global"), options));
  ASSERT_FALSE(copies);
  EXPECT_EQ(copies.error().what, "eplb-global ends with copies of experts in MoE layer 0, a plan has each expert once");
  const Result<ExpertSlots> empty = slots_after(replay_policy(trace, model, online_policy("contiguous"), options));
  ASSERT_FALSE(empty);
  EXPECT_THAT(empty.error().what, HasSubstr("empty slots"));
}

}  // namespace
}  // namespace moesim
