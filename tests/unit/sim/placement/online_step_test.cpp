#include "sim/placement/online_step.hpp"

#include <gmock/gmock.h>

#include "models/cluster/cluster_source.hpp"
#include "models/shape/model_source.hpp"
#include "placement_testing.hpp"
#include "sim/lower/ep_nodes.hpp"

namespace moesim {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::size_t index_of(Category category) { return static_cast<std::size_t>(category); }

const PlacementPolicy& online_policy(std::string_view name) { return **find_placement_policy(name); }

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

// One layer: rows 16 and 4 * 8 s of exchange without, with greedy 10 and 4 * 5 s for 20 of 30 iterations: c = e = 0.75; 8 s of
// switching in 30 iterations. Two layers on one stage: the same scales, twice the switching.
TEST(OnlineStep, WorkedFromTheRecording) {
  const LayerTimeModel model = one_tier_model(2);
  for (const int layers : {1, 2}) {
    const SelectionTrace recording = two_hot_of_four(layers);
    const ReplayTrace trace = two_devices(recording);
    const PolicyReplay still = replay_policy(trace, model, online_policy("contiguous"), {});
    const PolicyReplay moving = replay_policy(trace, model, online_policy("greedy"), {});
    EXPECT_EQ(still.layers[0].compute, Seconds(16));
    EXPECT_EQ(still.layers[0].exchange, Seconds(32));
    EXPECT_EQ(still.layers[0].iteration(), Seconds(48));
    const std::vector<MoeLayerScale> scales = layer_scales(still, moving);
    ASSERT_EQ(static_cast<int>(scales.size()), layers);
    for (const MoeLayerScale& scale : scales) {
      EXPECT_DOUBLE_EQ(scale.compute, 0.75);
      EXPECT_DOUBLE_EQ(scale.exchange, 0.75);
    }
    const std::vector<std::vector<double>> one_stage{std::vector<double>(static_cast<std::size_t>(layers), 1.0)};
    const StageExtras extras = largest_extras(one_stage, moving, total_weight(trace));
    EXPECT_DOUBLE_EQ(extras.switching.value(), 8.0 * layers / 30);
    EXPECT_EQ(extras.copies, Seconds(0));
  }
}

LayerTotals with_extras(double copies, double switching) {
  return {{}, {}, Seconds(copies), Seconds(switching), {ExpertPlacement::contiguous({2, 4, 2}), {}, {}}};
}

TEST(OnlineStep, TheStageWithMostOfEachCounts) {
  PolicyReplay moving;
  moving.layers = {with_extras(3, 10), with_extras(2, 30)};
  const StageExtras apart = largest_extras({{1, 0}, {0, 1}}, moving, 20);
  EXPECT_EQ(apart.copies, Seconds(3));
  EXPECT_EQ(apart.switching, Seconds(1.5));
  const StageExtras both_ways = largest_extras({{0.5, 0.5}, {0.5, 0.5}}, moving, 20);  // experts move once
  EXPECT_EQ(both_ways.copies, Seconds(5));
  EXPECT_EQ(both_ways.switching, Seconds(2));
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

  [[nodiscard]] Result<OnlineStep> asked(const SelectionTrace& trace, std::string_view policy,
                                         const PlacementReplayOptions& options = {},
                                         const TokenSample& tokens = TokenSample()) const {
    const Result<LoadMapper> pooled = LoadMapper::create(trace, -1);
    return online_step(plan_, simulated(trace), {model_, costs_, *pooled, trace, tokens}, online_policy(policy),
                       options);
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

// One stage and nothing beside anything: exchanges in a quarter of their time, then experts in half of it.
TEST_F(OnlinePlanTest, AScaledStepWithoutOverlap) {
  plan_.layout.sizes = {.dp = 8, .ep = 8};
  plan_.zero_dense = plan_.zero_expert = ZeroStage::kNone;
  plan_.overlap_grad_reduce = false;
  const SelectionTrace trace = recording();
  const Result<LoadMapper> pooled = LoadMapper::create(trace, -1);
  const Result<SimulatedStep> step = simulate_step(plan_, model_, costs_, &*pooled, {});
  ASSERT_TRUE(step) << step.error().what;
  const StepBreakdown& b = step->metrics.breakdown;
  const double exchange = b.exposed[index_of(Category::kEpComm)].value();
  const double experts = b.compute[index_of(Category::kExperts)].value();
  const double routing = b.compute[index_of(Category::kRouting)].value();
  ASSERT_GT(exchange, 0);
  const double end = step->metrics.step_time.value();
  const auto played = [&](const std::vector<MoeLayerScale>& scales) { return play_scaled(*step, scales).value(); };
  EXPECT_EQ(play_scaled(*step, std::vector<MoeLayerScale>(4)), step->metrics.step_time);
  EXPECT_NEAR(played(std::vector<MoeLayerScale>(4, {1, 0.25})), end - 0.75 * exchange, 1e-9);
  EXPECT_NEAR(played({{1, 0.25}, {}, {}, {}}), end - 0.75 * exchange / 4, 1e-9);  // of four equal layers
  // With the experts goes a part of what routing does.
  EXPECT_LT(played(std::vector<MoeLayerScale>(4, {0.5, 1})), end - 0.5 * experts);
  EXPECT_GT(played(std::vector<MoeLayerScale>(4, {0.5, 1})), end - 0.5 * (experts + routing));
}

TEST_F(OnlinePlanTest, AStaticPolicyChangesNothing) {
  const SelectionTrace trace = recording();
  const Result<OnlineStep> online = asked(trace, "contiguous");
  ASSERT_TRUE(online) << online.error().what;
  EXPECT_EQ(online->step_time, simulated(trace).step_time);
}

// What the simulator says of the plan with the slots that the policy ends with, for 39 of 40 equal steps: the scaled step is within
// 3 % of it.
TEST_F(OnlinePlanTest, AgreesWithTheSimulatedMove) {
  SelectionTrace trace(
      [] {
        std::vector<std::int64_t> steps;
        for (int step = 0; step < 40; ++step) steps.push_back(step);
        return steps;
      }(),
      {0, 1, 2, 3}, {0}, {0, 1, 2, 3}, 64);
  for (int step = 0; step < 40; ++step)
    for (int layer = 0; layer < 4; ++layer)
      for (int rank = 0; rank < 4; ++rank)
        for (std::size_t e = 0; e < 64; ++e) trace.counts(step, layer, 0, rank)[e] = e < 8 ? 10 : 2;
  PlacementReplayOptions options;
  options.period = 1;
  const Seconds before = simulated(trace).step_time;
  const Result<OnlineStep> online = asked(trace, "greedy", options);
  ASSERT_TRUE(online) << online.error().what;
  const Result<PlanReplay> replay = replay_of_plan(plan_, model_, costs_, trace);
  ASSERT_TRUE(replay) << replay.error().what;
  replay->put_into(options);
  const Result<ExpertSlots> slots =
      slots_after(replay_policy(replay->trace, replay->model, online_policy("greedy"), options));
  ASSERT_TRUE(slots) << slots.error().what;
  plan_.expert_slots = *slots;
  const Seconds after = simulated(trace).step_time;
  ASSERT_LT(after, 0.95 * before);
  EXPECT_NEAR(online->replayed / (before * 0.025 + after * 0.975), 1, 0.03);
}

// The same with copies of the hot experts: the step of the plan that EPLB ends with, which sends their weights and gradients beside
// what it computes, where the replay charges them as if nothing hid them.
TEST_F(OnlinePlanTest, AgreesWithTheSimulatedCopies) {
  SelectionTrace trace({0, 1}, {0, 1, 2, 3}, {0}, {0, 1, 2, 3}, 64);
  for (int step = 0; step < 2; ++step)
    for (int layer = 0; layer < 4; ++layer)
      for (int rank = 0; rank < 4; ++rank)
        for (std::size_t e = 0; e < 64; ++e) trace.counts(step, layer, 0, rank)[e] = e == 5 ? 400 : 4;
  PlacementReplayOptions options;
  options.period = 1;
  options.spare_slots = 1;
  const Seconds before = simulated(trace).step_time;
  const Result<OnlineStep> online = asked(trace, "eplb-global", options);
  ASSERT_TRUE(online) << online.error().what;
  const Result<PlanReplay> replay = replay_of_plan(plan_, model_, costs_, trace);
  ASSERT_TRUE(replay) << replay.error().what;
  replay->put_into(options);
  const Result<ExpertSlots> slots =
      slots_after(replay_policy(replay->trace, replay->model, online_policy("eplb-global"), options));
  ASSERT_TRUE(slots) << slots.error().what;
  plan_.expert_slots = *slots;
  const Seconds after = simulated(trace).step_time;
  ASSERT_LT(after, 0.9 * before);
  // The first of two steps is played without copies.
  EXPECT_NEAR((online->replayed + online->copies) / (before * 0.5 + after * 0.5), 1, 0.05);
  // A replay of that plan begins with them.
  const Result<OnlineStep> still = asked(trace, "contiguous", options);
  ASSERT_TRUE(still) << still.error().what;
  EXPECT_GT(still->copies, Seconds(0));
}

TEST_F(OnlinePlanTest, APlanWithSlotsStartsFromThem) {
  const SelectionTrace trace = recording();
  const Result<OnlineStep> contiguous = asked(trace, "greedy");
  ASSERT_TRUE(contiguous) << contiguous.error().what;
  // Once when the hot experts of the first device are dealt out, in four layers.
  EXPECT_EQ(contiguous->changes, 4);
  EXPECT_LT(contiguous->overall.compute, 1);
  // Dealt out already: each device has two of either eight.
  std::vector<std::int32_t> slots;
  for (std::int32_t device = 0; device < 4; ++device)
    for (std::int32_t i = 0; i < 16; ++i) slots.push_back(device + 4 * i);
  plan_.expert_slots.expert_at.assign(4, slots);
  const Result<OnlineStep> dealt = asked(trace, "greedy");
  ASSERT_TRUE(dealt) << dealt.error().what;
  EXPECT_EQ(dealt->changes, 0);
}

TEST_F(OnlinePlanTest, OneExpertGroupHasNothingToMove) {
  plan_.layout.sizes = {.pp = 2, .dp = 4, .edp = 4};
  const SelectionTrace trace = recording();
  const Result<OnlineStep> online = asked(trace, "greedy");
  ASSERT_TRUE(online) << online.error().what;
  EXPECT_EQ(online->step_time, simulated(trace).step_time);
}

TEST_F(OnlinePlanTest, SpareSlotsNeedMemory) {
  const SelectionTrace trace = recording();
  PlacementReplayOptions options;
  options.spare_slots = 1;
  const Result<OnlineStep> one = asked(trace, "flex", options);
  ASSERT_TRUE(one) << one.error().what;
  // Two MoE layers a stage; three matrices of 2048 x 1024 in bf16 with gradients in fp32.
  EXPECT_EQ(one->spare, Bytes(std::int64_t{2} * 3 * 2048 * 1024 * (2 + 4)));
  options.spare_slots = 1024;
  const Result<OnlineStep> many = asked(trace, "flex", options);
  ASSERT_FALSE(many);
  EXPECT_THAT(many.error().what, HasSubstr("its spare slots take 72.0 GiB"));
}

// Eight experts that are chosen together stand two on each of four devices, all chosen equally often: counts say nothing. With two such
// sets on a device a token goes to one device in place of four.
TEST_F(OnlinePlanTest, DeepEpIsJudgedByTokensThatTravelOnce) {
  SelectionTrace trace({0, 10, 20}, {0, 1, 2, 3}, {0}, {0, 1, 2, 3}, 64);
  TokenSample tokens;
  for (int step = 0; step < 3; ++step)
    for (std::int32_t layer = 0; layer < 4; ++layer)
      for (std::int32_t rank = 0; rank < 4; ++rank) {
        for (std::uint32_t& count : trace.counts(step, layer, 0, rank)) count = 8;
        for (std::int64_t token = 0; token < 64; ++token) {
          std::vector<std::int32_t> ids;
          for (std::int32_t i = 0; i < 8; ++i) ids.push_back(8 * i + static_cast<std::int32_t>(token + i) % 8);
          ASSERT_TRUE(tokens.token({{10 * step, layer, 0, rank}, token, ids, {"test", 1}}));
        }
      }
  plan_.moe_schedule = "deepep";
  plan_ = *with_ep_nodes(plan_, view_);
  const Result<OnlineStep> together = asked(trace, "co-activation", {}, tokens);
  ASSERT_TRUE(together) << together.error().what;
  EXPECT_EQ(together->dispatch, TokenDispatch::kOncePerNode);
  EXPECT_GT(together->changes, 0);
  EXPECT_LT(together->overall.exchange, 0.9);
  EXPECT_LT(together->replayed, simulated(trace).step_time);
  const Result<OnlineStep> greedy = asked(trace, "greedy", {}, tokens);
  ASSERT_TRUE(greedy) << greedy.error().what;
  EXPECT_EQ(greedy->dispatch, TokenDispatch::kOncePerNode);
  EXPECT_EQ(greedy->changes, 0);
  // Where each copy is sent nothing is gained, and copies of experts are judged by copies of tokens.
  PlacementReplayOptions spare;
  spare.spare_slots = 1;
  const Result<OnlineStep> copied = asked(trace, "eplb-global", spare, tokens);
  ASSERT_TRUE(copied) << copied.error().what;
  EXPECT_EQ(copied->dispatch, TokenDispatch::kCopies);
  plan_.moe_schedule = "megatron-a2a";
  plan_ = *with_ep_nodes(plan_, view_);
  const Result<OnlineStep> apart = asked(trace, "co-activation", {}, tokens);
  ASSERT_TRUE(apart) << apart.error().what;
  EXPECT_EQ(apart->dispatch, TokenDispatch::kCopies);
  EXPECT_EQ(apart->changes, 0);
  plan_.moe_schedule = "deepep";
  plan_ = *with_ep_nodes(plan_, view_);
  const Result<OnlineStep> counts = asked(trace, "greedy");
  ASSERT_TRUE(counts) << counts.error().what;
  EXPECT_EQ(counts->dispatch, TokenDispatch::kCopies);
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
    EXPECT_EQ(still.layers[0].iteration(), Seconds(60));
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
  // EPLB puts either copy of a hot expert on the device of the other, {0 0 2 | 1 1 3}: one is enough.
  const Result<ExpertSlots> copies = slots_after(replay_policy(trace, model, online_policy("eplb-global"), options));
  ASSERT_TRUE(copies) << copies.error().what;
  EXPECT_THAT(copies->expert_at[0], ElementsAre(0, 2, kNoExpert, 1, 3, kNoExpert));
  PolicyReplay still = replay_policy(trace, model, online_policy("contiguous"), options);
  const Result<ExpertSlots> empty = slots_after(still);
  ASSERT_TRUE(empty) << empty.error().what;
  EXPECT_THAT(empty->expert_at[0], ElementsAre(0, 1, kNoExpert, 2, 3, kNoExpert));
  // Homes are chosen so that both devices have two.
  PlacementDecision& last = still.layers[1].last;
  last.placement = *ExpertPlacement::make({2, 4, 3}, {0, 1, 2, 3, 0, kEmptySlot});
  last.split = TokenSplit::kEven;
  EXPECT_THAT(slots_after(still)->expert_at[1], ElementsAre(1, 2, 0, 0, 3, kNoExpert));
  last.split = TokenSplit::kLocality;
  EXPECT_THAT(slots_after(still).error().what,
              HasSubstr("copies that do not get equal shares of an expert's tokens in MoE layer 1"));
  last.split = TokenSplit::kEven;
  last.shadowed = {0};
  EXPECT_THAT(slots_after(still).error().what, HasSubstr("shadowed experts in MoE layer 1"));
}

}  // namespace
}  // namespace moesim
