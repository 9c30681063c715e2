// Experts in other slots train the same model, from the beginning and when they move in the middle of a run.
#include "exec/run/expert_moves.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/lower/moe_schedule.hpp"
#include "tests/unit/exec/run/run_testing.hpp"

namespace moesim {
namespace {

constexpr int kSteps = 3;

// The first layer of the tiny model is dense.
ExpertSlots mixed_slots() { return {{{3, 0, 7, 2, 5, 1, 6, 4}, {7, 6, 5, 4, 3, 2, 1, 0}, {0, 1, 2, 3, 4, 5, 6, 7}}}; }

const Trained& in_order() {
  static const Result<Trained> trained = train_all(tiny_plan({}), tiny_moe(), kSteps);
  EXPECT_TRUE(trained.has_value());
  return *trained;
}

void expect_as_in_order(const Plan& plan, const std::vector<SlotChange>& changes) {
  SCOPED_TRACE(plan_text(plan) + " " + plan.moe_schedule);
  const Result<Trained> trained = train_all(plan, tiny_moe(), kSteps, {}, changes);
  ASSERT_TRUE(trained.has_value()) << trained.error().what;
  const Trained& one = in_order();
  for (std::size_t step = 0; step < one.losses.size(); ++step)
    EXPECT_NEAR(trained->losses[step], one.losses[step], 2e-6 * one.losses[step]) << "step " << step;
  const Difference gradients = difference(one.gradients, trained->gradients);
  EXPECT_LT(gradients.largest, 2e-5) << "gradient of " << gradients.where;
  const Difference weights = difference(one.weights, trained->weights);
  EXPECT_LT(weights.largest, 6e-3) << weights.where;  // three steps of 2e-3 (equivalence_test.cpp)
  EXPECT_EQ(trained->weights.disagreement(), 0) << "replicas have gone apart";
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

TEST(ExpertMoves, NotWhereReplicasCutTheState) {
  Plan plan = tiny_plan({.dp = 4, .ep = 2, .edp = 2});
  plan.zero_expert = ZeroStage::kOptimizer;
  const Result<Trained> trained = train_all(plan, tiny_moe(), kSteps, {}, {{1, mixed_slots()}});
  ASSERT_FALSE(trained.has_value());
  EXPECT_THAT(trained.error().what, testing::HasSubstr("cut over their replicas"));
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
