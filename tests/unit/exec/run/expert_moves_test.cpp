// Experts in other slots train the same model, from the beginning and when they move in the middle of a run.
#include "exec/run/expert_moves.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <map>

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

Bytes expect_as_in_order(const Plan& plan, const std::vector<SlotChange>& changes) {
  const std::string zero = " expert zero " + std::to_string(static_cast<int>(plan.zero_expert));
  SCOPED_TRACE(plan_text(plan) + zero + " " + plan.moe_schedule);
  const Result<Trained> trained = train_all(plan, tiny_moe(), kSteps, {}, changes);
  EXPECT_TRUE(trained.has_value()) << trained.error().what;
  if (!trained) return {};
  const Trained& one = in_order(static_cast<int>(plan.global_batch));
  for (std::size_t step = 0; step < one.losses.size(); ++step)
    EXPECT_NEAR(trained->losses[step], one.losses[step], 2e-6 * one.losses[step]) << "step " << step;
  const Difference gradients = difference(one.gradients, trained->gradients);
  EXPECT_LT(gradients.largest, 2e-5) << "gradient of " << gradients.where;
  const Difference weights = difference(one.weights, trained->weights);
  EXPECT_LT(weights.largest, 6e-3) << weights.where;  // three steps of 2e-3 (equivalence_test.cpp)
  EXPECT_EQ(trained->weights.disagreement(), 0) << "replicas have gone apart";
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

TEST(ExpertSlotsPlan, HaveEachExpertOnce) {
  Plan plan = tiny_plan({.dp = 4, .ep = 4});
  plan.expert_slots = mixed_slots();
  EXPECT_TRUE(check_plan(plan, tiny_moe(), 4).has_value());
  plan.expert_slots.expert_at[1][0] = 6;
  EXPECT_THAT(check_plan(plan, tiny_moe(), 4).error().what, testing::HasSubstr("MoE layer 1"));
  plan.expert_slots.expert_at.pop_back();
  EXPECT_THAT(check_plan(plan, tiny_moe(), 4).error().what, testing::HasSubstr("2 layers, the model 3"));
}

}  // namespace
}  // namespace moesim
