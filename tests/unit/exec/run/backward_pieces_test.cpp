// Backward passes in pieces of their own train the same model: over every schedule that has pieces, every pipeline schedule and with
// shadowed experts.
#include <gtest/gtest.h>

#include <tuple>

#include "sim/lower/moe_schedule.hpp"
#include "sim/pipeline/schedules.hpp"
#include "tests/unit/exec/run/same_training.hpp"

namespace moesim {
namespace {

// A backward pass in other pieces than the forward pass: in more, in fewer, in several after one and in one after several.
TEST(Equivalence, BackwardPassesInPiecesOfTheirOwn) {
  std::size_t executed = 0;
  for (const MoeSchedule* schedule : moe_schedules())
    for (const ParallelSizes& sizes :
         {ParallelSizes{.tp = 2, .dp = 2, .ep = 2, .esp = 2}, ParallelSizes{.dp = 4, .ep = 4},
          ParallelSizes{.dp = 4, .ep = 4, .ep_on_node = 2}, ParallelSizes{.tp = 2, .pp = 2, .dp = 2, .ep = 4}}) {
      Plan plan = tiny_plan(sizes);
      plan.moe_schedule = schedule->name();
      if (!check_moe_schedule(*schedule, plan, *tiny_moe().first_moe())) continue;
      for (const int forward : schedule->degrees(plan))
        for (const int backward : schedule->degrees(plan)) {
          if (forward == backward) continue;
          plan.moe_degree = forward;
          plan.moe_backward_degree = backward;
          plan.recompute = kRecomputes[executed++ % 3];
          expect_same_training(plan, tiny_moe());
        }
    }
  EXPECT_GT(executed, 100U);
}

// Slots of guests are cut again as those of homes are.
TEST(Equivalence, BackwardPiecesOfExpertsInSeveralSlots) {
  for (const auto& [moe_schedule, forward, backward] :
       {std::tuple("pipemoe", 2, 4), std::tuple("fastermoe", 2, 1), std::tuple("fsmoe", 4, 1)}) {
    const int shards = moe_schedule == std::string_view("fsmoe") ? 2 : 1;
    Plan plan = tiny_plan({.tp = 2, .dp = 2, .ep = 2, .esp = shards, .edp = 2 / shards});
    plan.expert_slots.expert_at.assign(3, {3, 0, 7, 2, 5, 5, 1, 6, 4, 3});
    plan.moe_schedule = moe_schedule;
    plan.moe_degree = forward;
    plan.moe_backward_degree = backward;
    expect_same_training(plan, tiny_moe());
  }
}

TEST(Equivalence, BackwardPiecesUnderEveryPipelineSchedule) {
  for (const PipelineSchedule* schedule : pipeline_schedules())
    for (const auto& [moe_schedule, shadows, forward, backward] :
         {std::tuple("pipemoe", 0, 2, 4), std::tuple("fastermoe", 3, 1, 2), std::tuple("comet", 0, 2, 1)}) {
      Plan plan = tiny_plan({.pp = 2, .vpp = chunks_of(*schedule, 4), .dp = 2, .ep = 2});
      plan.pipeline = schedule->name();
      plan.moe_schedule = moe_schedule;
      plan.moe_shadows = shadows;
      plan.moe_degree = forward;
      plan.moe_backward_degree = backward;
      expect_same_training(plan, tiny_moe());
    }
}

}  // namespace
}  // namespace moesim
