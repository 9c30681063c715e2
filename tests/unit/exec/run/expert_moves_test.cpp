// Experts in other slots, and in several, train the same model, from the beginning and when they move in the middle of a run.
#include "exec/run/expert_moves.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <map>
#include <set>

#include "exec/run/dealt_rows.hpp"
#include "sim/lower/moe_schedule.hpp"
#include "sim/placement/plan_replay.hpp"
#include "tests/unit/cost/test_cluster.hpp"
#include "tests/unit/exec/run/run_testing.hpp"

namespace moesim {
namespace {

constexpr int kSteps = 3;

// The first layer of the tiny model is dense.
ExpertSlots mixed_slots() { return {{{3, 0, 7, 2, 5, 1, 6, 4}, {7, 6, 5, 4, 3, 2, 1, 0}, {0, 1, 2, 3, 4, 5, 6, 7}}}; }

const Trained& in_order(int global_batch) {
  static std::map<int, Result<Trained>> trained;
  const auto [found, missing] = trained.try_emplace(global_batch, Trained());
  if (missing) {
    Plan plan = tiny_plan({});
    plan.global_batch = global_batch;
    found->second = train_all(plan, tiny_moe(), kSteps);
  }
  EXPECT_TRUE(found->second.has_value());
  return *found->second;
}

void expect_alike(const Trained& one, const Trained& other) {
  for (std::size_t step = 0; step < one.losses.size(); ++step)
    EXPECT_NEAR(other.losses[step], one.losses[step], 2e-6 * one.losses[step]) << "step " << step;
  EXPECT_NEAR(other.first_norm, one.first_norm, 1e-5 * one.first_norm) << "what guests had counts at home alone";
  const Difference gradients = difference(one.gradients, other.gradients);
  EXPECT_LT(gradients.largest, 2e-5) << "gradient of " << gradients.where;
  const Difference weights = difference(one.weights, other.weights);
  EXPECT_LT(weights.largest, 6e-3) << weights.where;  // three steps of 2e-3 (equivalence_test.cpp)
  EXPECT_EQ(other.weights.disagreement(), 0) << "replicas have gone apart";
}

Bytes expect_as_in_order(const Plan& plan, const std::vector<SlotChange>& changes) {
  const std::string zero = " expert zero " + std::to_string(static_cast<int>(plan.zero_expert));
  SCOPED_TRACE(plan_text(plan) + zero + " " + plan.moe_schedule);
  const Result<Trained> trained = train_all(plan, tiny_moe(), kSteps, {}, changes);
  EXPECT_TRUE(trained.has_value()) << trained.error().what;
  if (!trained) return {};
  expect_alike(in_order(static_cast<int>(plan.global_batch)), *trained);
  return trained->most_moved;
}

// What the simulator says the busiest rank has to send for these changes.
Bytes predicted(Plan plan, const std::vector<SlotChange>& changes) {
  const ClusterView view = two_tier_view(1, plan.sizes().world());
  const CostModel costs(view);
  Bytes sent;
  for (const SlotChange& change : changes) {
    const Result<PlanSwitch> result = switch_of_plan(plan, change.slots, tiny_moe(), costs);
    EXPECT_TRUE(result.has_value()) << result.error().what;
    if (result) sent += result->sent;
    plan.expert_slots = change.slots;
  }
  return sent;
}

TEST(ExpertSlotsRun, StandWhereThePlanSays) {
  for (const MoeSchedule* schedule : moe_schedules())
    for (const ParallelSizes& sizes :
         {ParallelSizes{.tp = 2, .dp = 2, .ep = 2, .esp = 2}, ParallelSizes{.dp = 4, .ep = 4}}) {
      Plan plan = tiny_plan(sizes);
      plan.expert_slots = mixed_slots();
      plan.moe_schedule = schedule->name();
      if (!check_plan(plan, tiny_moe(), sizes.world()) || !schedule->check(plan, *tiny_moe().first_moe())) continue;
      expect_as_in_order(plan, {});
    }
}

TEST(ExpertMoves, CarryWeightsAndTheOptimizersState) {
  const std::vector<SlotChange> there_and_back = {{1, mixed_slots()}, {2, {}}};
  for (const ParallelSizes& sizes :
       {ParallelSizes{.dp = 4, .ep = 4}, ParallelSizes{.tp = 2, .dp = 2, .ep = 2, .esp = 2},
        ParallelSizes{.dp = 4, .ep = 2, .edp = 2}, ParallelSizes{.pp = 2, .dp = 2, .ep = 2}, ParallelSizes{}}) {
    expect_as_in_order(tiny_plan(sizes), {{1, mixed_slots()}});
    expect_as_in_order(tiny_plan(sizes), there_and_back);
  }
}

constexpr std::array<ZeroStage, 4> kStages = {ZeroStage::kNone, ZeroStage::kOptimizer, ZeroStage::kGradients,
                                              ZeroStage::kParameters};

// Parts whose borders lie between experts (2 and 4 replicas) and inside (3); whole weights are gathered from them in the next step.
TEST(ExpertMoves, CarryWhatZeroCutsOverReplicas) {
  for (const ParallelSizes& sizes :
       {ParallelSizes{.dp = 4, .ep = 4}, ParallelSizes{.dp = 4, .ep = 2, .edp = 2},
        ParallelSizes{.dp = 8, .ep = 2, .edp = 4}, ParallelSizes{.dp = 6, .ep = 2, .edp = 3},
        ParallelSizes{.dp = 4, .ep = 1, .edp = 4}, ParallelSizes{.tp = 2, .dp = 4, .ep = 2, .esp = 2, .edp = 2},
        ParallelSizes{.pp = 2, .dp = 4, .ep = 2, .edp = 2}})
    for (const ZeroStage stage : kStages) {
      Plan plan = tiny_plan(sizes);
      plan.zero_expert = stage;
      if (sizes.edp == 3) plan.global_batch = 6;
      const std::vector<SlotChange> changes = {{1, mixed_slots()}};
      EXPECT_EQ(expect_as_in_order(plan, changes), predicted(plan, changes)) << plan_text(plan);
    }
  Plan plan = tiny_plan({.dp = 4, .ep = 2, .edp = 2});
  plan.zero_expert = ZeroStage::kParameters;
  expect_as_in_order(plan, {{1, mixed_slots()}, {2, {}}});
}

// The matrices of an expert have 32 * 48 + 24 * 32 = 2304 numbers; in BF16 2 B of weights and 12 B of state each. Experts 0 and 1
// change places on one device: nothing to send where each replica has all, but where four replicas share its four experts both
// change replicas.
TEST(ExpertMoves, SendTheBytesThatArePredicted) {
  const std::vector<std::int32_t> in_order = {0, 1, 2, 3, 4, 5, 6, 7};
  const std::vector<SlotChange> inside = {{1, {{{1, 0, 2, 3, 4, 5, 6, 7}, in_order, in_order}}}};
  Plan plan = tiny_plan({.dp = 8, .ep = 2, .edp = 4});
  plan.precision = "bf16";
  for (const ZeroStage stage : kStages) {
    const int bytes = stage == ZeroStage::kNone ? 0 : 14;
    plan.zero_expert = stage;
    const Result<Trained> trained = train_all(plan, tiny_moe(), 2, {}, inside);
    ASSERT_TRUE(trained.has_value()) << trained.error().what;
    EXPECT_EQ(trained->most_moved, Bytes(std::int64_t{2304} * bytes));
    EXPECT_EQ(predicted(plan, inside), Bytes(std::int64_t{2304} * bytes));
  }
}

constexpr std::int32_t kNone = kNoExpert;

// Over 4 devices of 3 slots: guests of two experts, one of them three times; a device that is home of three; no guests at all.
ExpertSlots on_four() {
  return {{{3, 0, 7, 7, 2, 3, 5, 1, 7, 6, 4, kNone},
           {0, 1, 2, 3, 0, kNone, 4, 5, 0, 6, 7, 0},
           {0, 1, kNone, 2, 3, kNone, 4, 5, kNone, 6, 7, kNone}}};
}
// Over 2 devices of 5: a guest on each; a device that is home of five, beside a guest in the place of a home; one guest.
ExpertSlots on_two() {
  return {{{3, 0, 7, 2, 5, 5, 1, 6, 4, 3}, {0, 1, 2, 3, 4, 5, 6, 7, 0, kNone}, {0, 1, 2, 3, kNone, 4, 5, 6, 7, 0}}};
}

Plan with_guests(const ParallelSizes& sizes) {
  Plan plan = tiny_plan(sizes);
  plan.expert_slots = sizes.ep == 4 ? on_four() : on_two();
  return plan;
}

bool can_run(const MoeSchedule& schedule, Plan& plan) {
  plan.moe_schedule = schedule.name();
  return check_plan(plan, tiny_moe(), plan.sizes().world()).has_value() &&
         check_moe_schedule(schedule, plan, *tiny_moe().first_moe()).has_value();
}

TEST(ExpertGuests, TrainTheSameModelUnderEverySchedule) {
  std::set<std::string_view> ran;
  for (const MoeSchedule* schedule : moe_schedules())
    for (const ParallelSizes& sizes :
         {ParallelSizes{.dp = 4, .ep = 4}, ParallelSizes{.tp = 2, .dp = 2, .ep = 2, .esp = 2},
          ParallelSizes{.tp = 2, .dp = 2, .ep = 4}, ParallelSizes{.tp = 2, .dp = 2, .ep = 2, .edp = 2}}) {
      Plan plan = with_guests(sizes);
      if (!can_run(*schedule, plan)) continue;
      ran.insert(schedule->name());
      expect_as_in_order(plan, {});
    }
  // Janus has nothing to move here but tokens, so that it is among them; those that do not deal copies out are not.
  EXPECT_EQ(ran.size(), moe_schedules().size() - 2);
  EXPECT_FALSE(ran.contains("megatron-allgather"));
  EXPECT_FALSE(ran.contains("deepep"));
}

TEST(ExpertGuests, TrainTheSameModelUnderEveryZeroStage) {
  for (const ParallelSizes& sizes :
       {ParallelSizes{.dp = 4, .ep = 2, .edp = 2}, ParallelSizes{.tp = 2, .dp = 4, .ep = 2, .esp = 2, .edp = 2},
        ParallelSizes{.dp = 6, .ep = 2, .edp = 3}})
    for (const ZeroStage stage : {ZeroStage::kNone, ZeroStage::kOptimizer, ZeroStage::kGradients})
      for (const bool overlap : {true, false}) {
        Plan plan = with_guests(sizes);
        plan.zero_dense = plan.zero_expert = stage;
        plan.overlap_grad_reduce = plan.overlap_param_gather = overlap;
        if (sizes.edp == 3) plan.global_batch = 6;
        expect_as_in_order(plan, {});
      }
}

TEST(ExpertGuests, TrainTheSameModelUnderPipelines) {
  for (const char* pipeline : {"1f1b", "zb1p", "dualpipe"}) {
    Plan plan = with_guests({.pp = 2, .dp = 2, .ep = 2});
    plan.pipeline = pipeline;
    plan.layout.sizes.vpp = find_pipeline_schedule(pipeline).value()->chunks_per_stage(1);
    expect_as_in_order(plan, {});
    plan.grad_placement = GradPlacement::kBetweenExchanges;
    if (check_plan(plan, tiny_moe(), 4)) expect_as_in_order(plan, {});
  }
  Plan plan = with_guests({.dp = 4, .ep = 4});
  plan.recompute = Recompute::kFull;
  expect_as_in_order(plan, {});
}

// A capacity cuts an expert's copies before they are dealt out: what is dropped is what is dropped without guests.
TEST(ExpertGuests, CapacityIsThatOfTheExpert) {
  for (const bool pad : {false, true})
    for (const ParallelSizes& sizes :
         {ParallelSizes{.dp = 4, .ep = 4}, ParallelSizes{.tp = 2, .dp = 2, .ep = 2, .esp = 2}}) {
      Plan plan = with_guests(sizes);
      plan.moe_schedule = sizes.tp > 1 ? "parm-s1" : "megatron-a2a";
      plan.capacity_factor = 0.5;
      plan.pad_to_capacity = pad;
      Plan without = plan;
      without.expert_slots = {};
      const Result<Trained> alone = train_all(without, tiny_moe(), kSteps);
      const Result<Trained> guests = train_all(plan, tiny_moe(), kSteps);
      ASSERT_TRUE(alone.has_value()) << alone.error().what;
      ASSERT_TRUE(guests.has_value()) << guests.error().what;
      expect_alike(*alone, *guests);
      EXPECT_GT(std::abs(alone->losses[0] - in_order(8).losses[0]), 1e-4) << "nothing was dropped";
    }
}

// The bytes sent are those of homes alone.
TEST(ExpertGuests, ComeAndGoInTheMiddleOfARun) {
  ExpertSlots empty;
  for (int layer = 0; layer < 3; ++layer)
    empty.expert_at.push_back({0, 1, kNone, 2, 3, kNone, 4, 5, kNone, 6, 7, kNone});
  ExpertSlots guests = on_four();
  guests.expert_at[1] = {0, 1, 3, 2, 3, 0, 5, 4, 0, 6, 7, 0};
  for (const ZeroStage stage : {ZeroStage::kNone, ZeroStage::kGradients}) {
    Plan plan = tiny_plan({.dp = 8, .ep = 4, .edp = 2});
    plan.zero_expert = stage;
    plan.expert_slots = empty;
    const std::vector<SlotChange> there_and_back = {{1, guests}, {2, empty}};
    EXPECT_EQ(expect_as_in_order(plan, there_and_back), predicted(plan, there_and_back));
    // Three homes on one device take more memory than two.
    const Result<Trained> crowded = train_all(plan, tiny_moe(), 2, {}, {{1, on_four()}});
    ASSERT_FALSE(crowded.has_value());
    EXPECT_THAT(crowded.error().what, testing::HasSubstr("MoE layer 1 keeps an optimizer's state in 2 slots"));
    const Result<Trained> fewer = train_all(plan, tiny_moe(), 2, {}, {{1, mixed_slots()}});
    ASSERT_FALSE(fewer.has_value());
    EXPECT_THAT(fewer.error().what, testing::HasSubstr("a layer has 12 slots, and 8"));
  }
}

TEST(ExpertGuests, AreRefusedWhereCopiesAreNotDealtOut) {
  Plan plan = with_guests({.dp = 4, .ep = 4});
  const MoeShape& shape = *tiny_moe().first_moe();
  for (const char* name : {"megatron-allgather", "deepep"}) {
    plan.moe_schedule = name;
    const Status status = check_moe_schedule(**find_moe_schedule(name), plan, shape);
    ASSERT_FALSE(status) << name;
    EXPECT_THAT(status.error().what, testing::HasSubstr("does not deal"));
  }
  plan.moe_shadows = 1;
  const Status shadowed = check_moe_schedule(**find_moe_schedule("fastermoe"), plan, shape);
  ASSERT_FALSE(shadowed);
  EXPECT_THAT(shadowed.error().what, testing::HasSubstr("computes copies for 1 experts"));
}

// As the simulator deals a source's copies out, so does a rank.
TEST(DealtRows, AreThoseOfTheLoads) {
  const DealtRows example = deal_out(LayerSlots({{{0, 1, 3, 2, 3, 0}}}, 0, 4, 2), {5, 1, 2, 3}, 0);
  EXPECT_THAT(example.of_slot, testing::ElementsAre(2, 1, 1, 2, 2, 3));
  const std::vector<std::array<std::int64_t, 3>> runs = {{0, 0, 2}, {2, 8, 3}, {5, 2, 1},
                                                         {6, 4, 2}, {8, 3, 1}, {9, 6, 2}};
  ASSERT_EQ(example.runs.size(), runs.size());
  for (std::size_t i = 0; i < runs.size(); ++i)
    EXPECT_EQ((std::array{example.runs[i].from, example.runs[i].to, example.runs[i].rows}), runs[i]);

  RoutedLoads own;
  own.moe_layers = 3;
  own.sources = 3;
  own.experts = 8;
  own.balanced = false;
  for (std::int32_t i = 0; i < 72; ++i) own.counts.push_back(i * 5 % 7);
  const auto dealt = by_slot(std::make_shared<const RoutedLoads>(own), on_four());
  for (int layer = 0; layer < 3; ++layer)
    for (int source = 0; source < 3; ++source) {
      const auto counts = own.row(layer, 0, source);
      const auto expected = dealt->row(layer, 0, source);
      const DealtRows rows =
          deal_out(LayerSlots(on_four(), layer, 8, 4), {counts.begin(), counts.end()}, dealt->turn(source));
      EXPECT_THAT(rows.of_slot, testing::ElementsAreArray(expected.begin(), expected.end()));
    }
}

TEST(ExpertSlotsPlan, HaveEachExpertOnce) {
  Plan plan = tiny_plan({.dp = 4, .ep = 4});
  plan.expert_slots = mixed_slots();
  EXPECT_TRUE(check_plan(plan, tiny_moe(), 4).has_value());
  plan.expert_slots.expert_at[1][0] = 6;
  EXPECT_THAT(check_plan(plan, tiny_moe(), 4).error().what, testing::HasSubstr("MoE layer 1"));
  plan.expert_slots.expert_at.pop_back();
  EXPECT_THAT(check_plan(plan, tiny_moe(), 4).error().what, testing::HasSubstr("2 layers, the model 3"));
}

TEST(ExpertSlotsPlan, WithSpareSlotsHaveEachExpertOnADeviceOnce) {
  const auto refusal = [](const auto& change) {
    Plan plan = tiny_plan({.dp = 4, .ep = 4});
    plan.expert_slots = on_four();
    change(plan);
    const Status status = check_plan(plan, tiny_moe(), plan.sizes().world());
    return status ? std::string("none") : status.error().what;
  };
  EXPECT_EQ(refusal([](Plan&) {}), "none");
  EXPECT_THAT(refusal([](Plan& plan) { plan.expert_slots.expert_at[0][1] = 7; }),
              testing::HasSubstr("MoE layer 0 has expert 7 twice on EP rank 0"));
  EXPECT_THAT(refusal([](Plan& plan) { plan.expert_slots.expert_at[0][6] = 1; }),
              testing::HasSubstr("twice on EP rank 2"));
  EXPECT_THAT(refusal([](Plan& plan) { plan.expert_slots.expert_at[0][6] = kNone; }),
              testing::HasSubstr("has expert 5 nowhere"));
  EXPECT_THAT(refusal([](Plan& plan) { plan.expert_slots.expert_at[2][5] = 8; }),
              testing::HasSubstr("has expert 8 in slot 5, the model has 8"));
  EXPECT_THAT(refusal([](Plan& plan) { plan.expert_slots.expert_at[1].resize(16, kNone); }),
              testing::HasSubstr("MoE layer 1 has 16 slots"));
  EXPECT_THAT(refusal([](Plan& plan) { plan.expert_slots.expert_at[0].pop_back(); }),
              testing::HasSubstr("MoE layer 0 has 11 slots"));
  // Without spare slots there is no empty one.
  EXPECT_THAT(refusal([](Plan& plan) {
                plan.expert_slots = mixed_slots();
                plan.expert_slots.expert_at[2][5] = kNone;
              }),
              testing::HasSubstr("has expert -1 in slot 5"));
  EXPECT_THAT(refusal([](Plan& plan) {
                plan.layout.sizes = {.dp = 8, .ep = 4, .edp = 2};
                plan.zero_expert = ZeroStage::kParameters;
              }),
              testing::HasSubstr("zero_expert 3"));
}

}  // namespace
}  // namespace moesim
