// MoE-layer schedules as programs: what each sends, and that none loses or doubles a copy.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "sim/lower/moe_schedule.hpp"
#include "tests/unit/sim/program/program_testing.hpp"

namespace moesim {
namespace {

Plan plan_with(std::string_view schedule, const ParallelSizes& sizes) {
  Plan plan = plan_of(sizes, 2);
  plan.moe_schedule = schedule;
  return plan;
}

const Block& block_of(const Program& program, BlockKind kind) {
  const auto found = std::find_if(program.blocks.begin(), program.blocks.end(),
                                  [kind](const Block& block) { return block.kind == kind; });
  EXPECT_NE(found, program.blocks.end());
  return *found;
}

// What is done with the copies of a layer, with the balanced rows of the first input and output.
struct Step {
  std::string_view name;
  OpKind kind;
  RowCount in, out;
  GroupKind group;
};

std::vector<Step> copies_of(const Program& program, BlockKind kind, LayerId layer) {
  const Block& block = block_of(program, kind);
  const Chunk& chunk = program.chunks[static_cast<std::size_t>(block.chunk)];
  std::vector<Step> steps;
  for (const Op& op : block.ops)
    if (op.layer == layer && op.name.starts_with("moe.") && op.kind != OpKind::kAdd)
      steps.push_back({op.name, op.kind, chunk.tensors[op.inputs[0].index()].rows,
                       chunk.tensors[op.outputs[0].index()].rows, op.group});
  return steps;
}

void expect_step(const Step& step, OpKind kind, RowCount in, RowCount out, GroupKind group) {
  EXPECT_EQ(step.kind, kind) << step.name;
  EXPECT_EQ(step.in, in) << step.name;
  EXPECT_EQ(step.out, out) << step.name;
  EXPECT_EQ(step.group, group) << step.name;
}

// 64 tokens over TP 2, top-2: 64 copies of a rank, 128 for the two shards of each expert; all 4 ranks together bring 256 to
// the shards of two EP members, 128 to each.
TEST(ParmS1, SendsOneCopyToEveryShard) {
  const Program program = lowered(plan_with("parm-s1", {.tp = 2, .dp = 2, .ep = 2, .esp = 2}), small_moe());
  const RowCount routed{64, RowSource::kRouted};
  const RowCount shards{128, RowSource::kRoutedShards};
  const RowCount arrived{128, RowSource::kArrivedShards};
  const std::vector<Step> forward = copies_of(program, BlockKind::kForward, LayerId(3));
  ASSERT_EQ(forward.size(), 8U);
  expect_step(forward[0], OpKind::kPermute, {32, RowSource::kFixed}, routed, GroupKind::kSelf);
  expect_step(forward[1], OpKind::kReplicate, routed, shards, GroupKind::kSelf);
  expect_step(forward[2], OpKind::kDispatch, shards, arrived, GroupKind::kEpEsp);
  expect_step(forward[3], OpKind::kSortByExpert, arrived, arrived, GroupKind::kSelf);
  expect_step(forward[4], OpKind::kSortByExpert, arrived, arrived, GroupKind::kSelf);
  expect_step(forward[5], OpKind::kCombine, arrived, shards, GroupKind::kEpEsp);
  expect_step(forward[6], OpKind::kSumReplicas, shards, routed, GroupKind::kSelf);
  expect_step(forward[7], OpKind::kUnpermute, routed, {32, RowSource::kFixed}, GroupKind::kSelf);

  // Backwards the gradient of each copy goes to all shards, and what they make of it comes back to be summed.
  const std::vector<Step> backward = copies_of(program, BlockKind::kBackward, LayerId(3));
  ASSERT_EQ(backward.size(), 8U);
  expect_step(backward[1], OpKind::kReplicate, routed, shards, GroupKind::kSelf);
  expect_step(backward[2], OpKind::kDispatch, shards, arrived, GroupKind::kEpEsp);
  expect_step(backward[5], OpKind::kCombine, arrived, shards, GroupKind::kEpEsp);
  expect_step(backward[6], OpKind::kSumReplicas, shards, routed, GroupKind::kSelf);
}

TEST(ParmS1, NeedsTokensOfItsOwnOnEveryTpRank) {
  Plan plan = plan_with("parm-s1", {.tp = 2, .dp = 2, .ep = 4});
  plan.sequence_parallel = false;
  const Status status = find_moe_schedule("parm-s1").value()->check(plan, *small_moe().first_moe());
  ASSERT_FALSE(status.has_value());
  EXPECT_NE(status.error().what.find("sequence parallelism"), std::string::npos);
}

TEST(MoeSchedules, ThoseThatCallThemselvesTheSameAreTheSame) {
  int compared = 0;
  for (const MoeSchedule* schedule : moe_schedules())
    for (const ParallelSizes& sizes :
         {ParallelSizes{.dp = 4, .ep = 4}, ParallelSizes{.tp = 2, .dp = 2, .ep = 2, .esp = 2},
          ParallelSizes{.tp = 2, .dp = 2, .ep = 4}, ParallelSizes{.dp = 2, .esp = 2}}) {
      const Plan plan = plan_with(schedule->name(), sizes);
      const std::string_view other = schedule->same_as(plan);
      if (other.empty()) continue;
      ++compared;
      const Program own = lowered(plan, small_moe());
      const Program same = lowered(plan_with(other, sizes), small_moe());
      ASSERT_EQ(own.blocks.size(), same.blocks.size());
      for (std::size_t b = 0; b < own.blocks.size(); ++b) {
        ASSERT_EQ(own.blocks[b].ops.size(), same.blocks[b].ops.size());
        for (std::size_t i = 0; i < own.blocks[b].ops.size(); ++i) {
          EXPECT_EQ(own.blocks[b].ops[i].kind, same.blocks[b].ops[i].kind);
          EXPECT_EQ(own.blocks[b].ops[i].name, same.blocks[b].ops[i].name);
        }
      }
    }
  EXPECT_GE(compared, 2);
}

// Whatever its way, a copy goes out and comes back once in each direction of the step, and rows end where they began.
TEST(MoeSchedules, CopiesGoOutAndComeBackOnce) {
  for (const MoeSchedule* schedule : moe_schedules())
    for (const ParallelSizes& sizes :
         {ParallelSizes{.tp = 2, .dp = 2, .ep = 2, .esp = 2}, ParallelSizes{.dp = 4, .ep = 4}}) {
      const Program program = lowered(plan_with(schedule->name(), sizes), small_moe());
      for (const BlockKind pass : {BlockKind::kForward, BlockKind::kBackward}) {
        const std::vector<Step> steps = copies_of(program, pass, LayerId(5));
        std::map<OpKind, int> count;
        for (const Step& step : steps) ++count[step.kind];
        EXPECT_EQ(count[OpKind::kDispatch], 1) << schedule->name();
        EXPECT_EQ(count[OpKind::kCombine], 1) << schedule->name();
        EXPECT_EQ(count[OpKind::kReplicate], count[OpKind::kSumReplicas]) << schedule->name();
        ASSERT_FALSE(steps.empty());
        EXPECT_EQ(steps.front().in, steps.back().out) << schedule->name();
        for (std::size_t i = 1; i < steps.size(); ++i)
          if (steps[i].kind != OpKind::kSortByExpert && steps[i - 1].kind != OpKind::kSortByExpert) {
            EXPECT_EQ(steps[i].in, steps[i - 1].out) << schedule->name() << ' ' << steps[i].name;
          }
      }
    }
}

}  // namespace
}  // namespace moesim
