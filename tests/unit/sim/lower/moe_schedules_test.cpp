// MoE-layer schedules as programs: what each sends, and that none loses or doubles a copy.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "sim/lower/moe_schedule.hpp"
#include "sim/program/group_loads.hpp"
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
  std::int64_t columns;  // of the first input
};

std::vector<Step> copies_of(const Program& program, BlockKind kind, LayerId layer) {
  const Block& block = block_of(program, kind);
  const Chunk& chunk = program.chunks[static_cast<std::size_t>(block.chunk)];
  std::vector<Step> steps;
  for (const Op& op : block.ops)
    if (op.layer == layer && op.name.starts_with("moe.") && op.kind != OpKind::kAdd && op.phase != Phase::kRecompute)
      steps.push_back({op.name, op.kind, chunk.tensors[op.inputs[0].index()].rows,
                       chunk.tensors[op.outputs[0].index()].rows, op.group,
                       chunk.tensors[op.inputs[0].index()].columns});
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

constexpr auto kTokens = RowSource::kFixed;

// Without sequence parallelism Parm's own MP-Split and MP-AllGather stand at the ends.
TEST(ParmS1, SplitsAndGathersTokensThatTpRanksHoldAlike) {
  Plan plan = plan_with("parm-s1", {.tp = 2, .dp = 2, .ep = 2, .esp = 2});
  plan.sequence_parallel = false;
  const Program program = lowered(plan, small_moe());
  const std::vector<Step> forward = copies_of(program, BlockKind::kForward, LayerId(3));
  ASSERT_EQ(forward.size(), 10U);
  expect_step(forward[0], OpKind::kTakeShare, {64, kTokens}, {32, kTokens}, GroupKind::kTp);
  expect_step(forward[9], OpKind::kAllGather, {32, kTokens}, {64, kTokens}, GroupKind::kTp);
  // The gradient is alike on both as well: nothing is summed on the way back.
  const std::vector<Step> backward = copies_of(program, BlockKind::kBackward, LayerId(3));
  ASSERT_EQ(backward.size(), 10U);
  expect_step(backward[0], OpKind::kTakeShare, {64, kTokens}, {32, kTokens}, GroupKind::kTp);
  expect_step(backward[9], OpKind::kAllGather, {32, kTokens}, {64, kTokens}, GroupKind::kTp);
}

// 64 tokens, top-2, gated alike by both TP ranks: 128 copies, of which each sends 64, to both shards of their experts, in four
// pieces of 16 columns; while one is gathered over TP the next is on its way.
TEST(ParmS2, SharesOutCopiesAndGathersThemInPieces) {
  Plan plan = plan_with("parm-s2", {.tp = 2, .dp = 2, .ep = 2, .esp = 2});
  plan.sequence_parallel = false;
  const Program program = lowered(plan, small_moe());
  const RowCount gated{128, RowSource::kGated};
  const RowCount routed{64, RowSource::kRouted};
  const RowCount shards{128, RowSource::kRoutedShards};
  const RowCount arrived{128, RowSource::kArrivedShards};
  const std::vector<Step> forward = copies_of(program, BlockKind::kForward, LayerId(3));
  ASSERT_EQ(forward.size(), 34U);
  expect_step(forward[0], OpKind::kPermute, {64, kTokens}, gated, GroupKind::kSelf);
  expect_step(forward[1], OpKind::kSortByExpert, gated, gated, GroupKind::kSelf);
  expect_step(forward[2], OpKind::kSplitColumns, gated, gated, GroupKind::kSelf);
  for (std::size_t piece = 0; piece < 4; ++piece) {
    expect_step(forward[3 + 2 * piece], OpKind::kTakeShare, gated, routed, GroupKind::kTp);
    expect_step(forward[4 + 2 * piece], OpKind::kReplicate, routed, shards, GroupKind::kSelf);
    expect_step(forward[11 + piece], OpKind::kDispatch, shards, arrived, GroupKind::kEpEsp);
    expect_step(forward[19 + piece], OpKind::kCombine, arrived, shards, GroupKind::kEpEsp);
    expect_step(forward[23 + 2 * piece], OpKind::kSumReplicas, shards, routed, GroupKind::kSelf);
    expect_step(forward[24 + 2 * piece], OpKind::kAllGather, routed, gated, GroupKind::kTp);
  }
  expect_step(forward[15], OpKind::kJoinColumns, arrived, arrived, GroupKind::kSelf);
  expect_step(forward[18], OpKind::kSplitColumns, arrived, arrived, GroupKind::kSelf);
  expect_step(forward[31], OpKind::kJoinColumns, gated, gated, GroupKind::kSelf);
  expect_step(forward[33], OpKind::kUnpermute, gated, {64, kTokens}, GroupKind::kSelf);
  // Forward and backward communicate alike: exchanges in pieces, and others beside gathers of copies.
  const std::vector<Step> backward = copies_of(program, BlockKind::kBackward, LayerId(3));
  ASSERT_EQ(backward.size(), 34U);
  for (std::size_t piece = 0; piece < 4; ++piece) {
    expect_step(backward[11 + piece], OpKind::kDispatch, shards, arrived, GroupKind::kEpEsp);
    expect_step(backward[19 + piece], OpKind::kCombine, arrived, shards, GroupKind::kEpEsp);
    expect_step(backward[24 + 2 * piece], OpKind::kAllGather, routed, gated, GroupKind::kTp);
  }
}

std::vector<std::string_view> communication_of(const Program& program, BlockKind kind, LayerId layer) {
  std::vector<std::string_view> names;
  for (const Op& op : block_of(program, kind).ops)
    if (op.layer == layer && is_communication(op.kind) &&
        (op.name.starts_with("moe.") || op.name.starts_with("experts.")))
      names.push_back(op.name);
  return names;
}

// 32 tokens of each of 4 ranks, top-2: all 128 tokens on every rank, of whose 256 copies the experts of one EP member have half.
TEST(MegatronAllGather, ComputesTheCopiesForItsOwnExperts) {
  const Program program = lowered(plan_with("megatron-allgather", {.tp = 2, .dp = 2, .ep = 2, .esp = 2}), small_moe());
  const RowCount local{128, RowSource::kArrivedShards};
  const std::vector<Step> forward = copies_of(program, BlockKind::kForward, LayerId(3));
  ASSERT_EQ(forward.size(), 5U);
  expect_step(forward[0], OpKind::kAllGather, {32, kTokens}, {128, kTokens}, GroupKind::kEpEsp);
  expect_step(forward[1], OpKind::kAllGather, {32, kTokens}, {128, kTokens}, GroupKind::kEpEsp);
  expect_step(forward[2], OpKind::kPermute, {128, kTokens}, local, GroupKind::kSelf);
  expect_step(forward[3], OpKind::kUnpermute, local, {128, kTokens}, GroupKind::kSelf);
  expect_step(forward[4], OpKind::kReduceScatter, {128, kTokens}, {32, kTokens}, GroupKind::kEpEsp);
  // Backwards the sums' gradients are gathered, and those of tokens and choices each summed for its rank.
  EXPECT_THAT(communication_of(program, BlockKind::kBackward, LayerId(3)),
              testing::ElementsAre("moe.sum_all", "moe.gather_all_choices", "moe.gather_all_tokens"));
}

// 64 tokens of a rank, top-2: 128 copies, in two pieces of 64, which all go out before the first comes back.
TEST(PipeMoe, SendsAllPiecesBeforeTheFirstComesBack) {
  Plan plan = plan_with("pipemoe", {.dp = 4, .ep = 4});
  plan.moe_degree = 2;
  const Program program = lowered(plan, small_moe());
  const auto piece = [](RowSource source, int index) {
    return RowCount{64, source, {CutBy::kShare, static_cast<std::int16_t>(index), 2}};
  };
  const RowCount routed{128, RowSource::kRouted};
  const std::vector<Step> forward = copies_of(program, BlockKind::kForward, LayerId(3));
  ASSERT_EQ(forward.size(), 16U);
  expect_step(forward[0], OpKind::kPermute, {64, kTokens}, routed, GroupKind::kSelf);
  expect_step(forward[1], OpKind::kSortByExpert, routed, routed, GroupKind::kSelf);
  expect_step(forward[2], OpKind::kSplitRows, routed, piece(RowSource::kRouted, 0), GroupKind::kSelf);
  EXPECT_EQ(forward[4].kind, OpKind::kSplitRows);  // of the weights
  for (int i = 0; i < 2; ++i) {
    const auto at = static_cast<std::size_t>(i);
    expect_step(forward[5 + at], OpKind::kDispatch, piece(RowSource::kRouted, i), piece(RowSource::kArrived, i),
                GroupKind::kEp);
    expect_step(forward[7 + 3 * at], OpKind::kSortByExpert, piece(RowSource::kArrived, i),
                piece(RowSource::kArrived, i), GroupKind::kSelf);
    expect_step(forward[9 + 3 * at], OpKind::kCombine, piece(RowSource::kArrived, i), piece(RowSource::kRouted, i),
                GroupKind::kEp);
  }
  expect_step(forward[13], OpKind::kJoinRows, piece(RowSource::kRouted, 0), routed, GroupKind::kSelf);
  expect_step(forward[15], OpKind::kUnpermute, routed, {64, kTokens}, GroupKind::kSelf);
  // Both pieces meet the same two weights, and backwards add to the same two gradients.
  const Block& backward = block_of(program, BlockKind::kBackward);
  std::map<TensorId, int> additions;
  for (const Op& op : backward.ops)
    if (op.kind == OpKind::kGroupedGemmWgrad && op.layer == LayerId(3)) ++additions[op.outputs[0]];
  EXPECT_THAT(additions, testing::ElementsAre(testing::Pair(testing::_, 2), testing::Pair(testing::_, 2)));
}

// While one piece is computed the next is gathered inside the node.
TEST(FsMoe, GathersAPieceAheadOfTheExperts) {
  Plan plan = plan_with("fsmoe", {.tp = 2, .dp = 2, .ep = 2, .esp = 2});
  plan.moe_degree = 2;
  EXPECT_THAT(communication_of(lowered(plan, small_moe()), BlockKind::kForward, LayerId(3)),
              testing::ElementsAre("moe.dispatch", "moe.dispatch", "moe.share", "moe.share", "moe.sum_shards",
                                   "moe.combine", "moe.sum_shards", "moe.combine"));
  EXPECT_THAT(communication_of(lowered(plan, small_moe()), BlockKind::kBackward, LayerId(3)),
              testing::ElementsAre("moe.combine", "moe.sum_shards", "moe.combine", "moe.sum_shards", "moe.share",
                                   "moe.share", "moe.dispatch", "moe.dispatch"));
}

TEST(MoeSchedules, ADegreeThatAScheduleDoesNotHaveIsRefused) {
  Plan plan = plan_with("megatron-a2a", {.dp = 4, .ep = 4});
  plan.moe_degree = 4;
  const Status status = check_moe_schedule(*find_moe_schedule("megatron-a2a").value(), plan, *small_moe().first_moe());
  ASSERT_FALSE(status.has_value());
  EXPECT_THAT(status.error().what, testing::HasSubstr("megatron-a2a cannot cut token copies into 4 pieces"));
  EXPECT_THAT(status.error().hint, testing::HasSubstr("set \"moe_degree\" to 1"));
  EXPECT_EQ(status.error().kind, ErrorKind::kInvalidInput);
}

// A name is wrong on the command line or in a plan file, and the exit code says which.
TEST(MoeSchedules, WhatAPlanNamesWronglyIsInvalidInput) {
  Plan plan;
  plan.moe_schedule = "pipemo";
  EXPECT_EQ(moe_schedule_of(plan).error().kind, ErrorKind::kInvalidInput);
  EXPECT_EQ(find_moe_schedule("pipemo").error().kind, ErrorKind::kUsage);
  plan = plan_with("pipemoe", {.tp = 2, .dp = 2, .ep = 2, .esp = 2});
  EXPECT_EQ(check_moe_schedule(*moe_schedule_of(plan).value(), plan, *small_moe().first_moe()).error().kind,
            ErrorKind::kInvalidInput);
}

// 64 tokens of each TP rank, gathered over the two shards with all that is alike: 256 copies, twice what S1 sends in all.
TEST(DeepSpeed, ParmsBaselineGathersSumsAndRepeats) {
  Plan plan = plan_with("deepspeed-moe", {.tp = 2, .dp = 2, .ep = 2, .esp = 2});
  plan.sequence_parallel = false;
  const Program program = lowered(plan, small_moe());
  const RowCount routed{256, RowSource::kRouted};
  const RowCount arrived{256, RowSource::kArrived};
  const std::vector<Step> forward = copies_of(program, BlockKind::kForward, LayerId(3));
  ASSERT_EQ(forward.size(), 11U);
  expect_step(forward[1], OpKind::kAllGather, {64, kTokens}, {128, kTokens}, GroupKind::kEsp);
  expect_step(forward[2], OpKind::kPermute, {128, kTokens}, routed, GroupKind::kSelf);
  expect_step(forward[3], OpKind::kDispatch, routed, arrived, GroupKind::kEp);
  expect_step(forward[6], OpKind::kAllReduce, arrived, arrived, GroupKind::kEsp);
  expect_step(forward[7], OpKind::kCombine, arrived, routed, GroupKind::kEp);
  expect_step(forward[9], OpKind::kTakeShare, {128, kTokens}, {64, kTokens}, GroupKind::kEsp);
  // Backwards the gradients are gathered, and what the shards made of the tokens' is reduce-scattered.
  EXPECT_THAT(communication_of(program, BlockKind::kBackward, LayerId(3)),
              testing::ElementsAre("moe.split_tokens", "moe.combine", "moe.dispatch", "moe.gather_tokens"));
  // Or summed inside the experts, by an all-reduce of the 256 copies' gradients, and cut.
  plan.moe_schedule = "deepspeed-moe-ar";
  const Program summed = lowered(plan, small_moe());
  EXPECT_THAT(communication_of(summed, BlockKind::kForward, LayerId(3)),
              testing::ElementsAre("moe.gather_tokens", "moe.dispatch", "experts.sum", "moe.combine"));
  EXPECT_THAT(communication_of(summed, BlockKind::kBackward, LayerId(3)),
              testing::ElementsAre("moe.split_tokens", "moe.combine", "experts.enter_weights", "experts.enter",
                                   "moe.dispatch"));
  // Per rank and direction S1 sends 128 rows of its 64 copies, and its experts compute 128: half of 256.
  const Program s1 = lowered(plan_with("parm-s1", {.tp = 2, .dp = 2, .ep = 2, .esp = 2}), small_moe());
  const auto rows = [](const Program& of) {
    const LoadClass one = load_classes(*of.layout, *of.loads).front();
    return GroupLoads(*of.loads, one.sources, 2, 2).arrived_shards(0, 0, 0);
  };
  EXPECT_EQ(rows(program), 2 * rows(s1));
}

TEST(DeepSpeed, BeforeAndSinceItDropsDuplicates) {
  for (const bool drops : {false, true}) {
    Plan plan = plan_with(drops ? "deepspeed-v1" : "deepspeed-v0", {.tp = 2, .dp = 2, .ep = 2, .esp = 2});
    plan.sequence_parallel = false;
    const std::vector<std::string_view> names =
        communication_of(lowered(plan, small_moe()), BlockKind::kForward, LayerId(3));
    if (drops)
      EXPECT_THAT(names,
                  testing::ElementsAre("moe.dispatch", "moe.share", "experts.sum", "moe.combine", "moe.gather_shares"));
    else
      EXPECT_THAT(names, testing::ElementsAre("moe.dispatch", "experts.sum", "moe.combine"));
  }
}

TEST(DeepSpeed, SlicesExpertsAsItSlicesAttention) {
  const Plan plan = plan_with("deepspeed-v1", {.tp = 2, .dp = 4, .ep = 2, .esp = 4});
  const Status status = find_moe_schedule("deepspeed-v1").value()->check(plan, *small_moe().first_moe());
  ASSERT_FALSE(status.has_value());
  EXPECT_THAT(status.error().what, testing::HasSubstr("esp is 4 and tp is 2"));
}

TEST(MoeSchedules, ThoseThatCallThemselvesTheSameAreTheSame) {
  int compared = 0;
  for (const MoeSchedule* schedule : moe_schedules())
    for (const ParallelSizes& sizes :
         {ParallelSizes{.dp = 4, .ep = 4}, ParallelSizes{.tp = 2, .dp = 2, .ep = 2, .esp = 2},
          ParallelSizes{.tp = 2, .dp = 2, .ep = 4}, ParallelSizes{.dp = 2, .esp = 2}}) {
      Plan plan = plan_with(schedule->name(), sizes);
      if (!schedule->check(plan, *small_moe().first_moe())) continue;
      for (const int degree : schedule->degrees(plan)) {
        plan.moe_degree = degree;
        const std::string_view other = schedule->same_as(plan, *small_moe().first_moe());
        if (other.empty()) continue;
        ++compared;
        const Program own = lowered(plan, small_moe());
        Plan of_other = plan_with(other, sizes);
        const std::vector<int> degrees = find_moe_schedule(other).value()->degrees(of_other);
        of_other.moe_degree = std::ranges::find(degrees, degree) != degrees.end() ? degree : 0;
        const Program same = lowered(of_other, small_moe());
        ASSERT_EQ(own.blocks.size(), same.blocks.size());
        for (std::size_t b = 0; b < own.blocks.size(); ++b) {
          ASSERT_EQ(own.blocks[b].ops.size(), same.blocks[b].ops.size());
          for (std::size_t i = 0; i < own.blocks[b].ops.size(); ++i) {
            EXPECT_EQ(own.blocks[b].ops[i].kind, same.blocks[b].ops[i].kind);
            EXPECT_EQ(own.blocks[b].ops[i].name, same.blocks[b].ops[i].name);
          }
        }
      }
    }
  EXPECT_GE(compared, 2);
}

TEST(MoeSchedules, CommunicationStandsOnStreamsOfItsOwn) {
  for (const MoeSchedule* schedule : moe_schedules())
    for (const bool sequence_parallel : {true, false}) {
      Plan plan = plan_with(schedule->name(), {.tp = 2, .dp = 2, .ep = 2, .esp = 2});
      plan.sequence_parallel = sequence_parallel;
      if (!schedule->check(plan, *small_moe().first_moe())) continue;
      const Program program = lowered(plan, small_moe());
      for (const BlockKind pass : {BlockKind::kForward, BlockKind::kBackward})
        for (const Op& op : block_of(program, pass).ops)
          EXPECT_EQ(is_communication(op.kind), op.stream != Stream::kCompute) << schedule->name() << ' ' << op.name;
    }
}

// Whatever its way, a copy goes out and comes back once in each direction of the step, and rows end where they began.
TEST(MoeSchedules, CopiesGoOutAndComeBackOnce) {
  for (const MoeSchedule* schedule : moe_schedules())
    for (const ParallelSizes& sizes :
         {ParallelSizes{.tp = 2, .dp = 2, .ep = 2, .esp = 2}, ParallelSizes{.dp = 4, .ep = 4}}) {
      const Plan plan = plan_with(schedule->name(), sizes);
      if (!schedule->check(plan, *small_moe().first_moe())) continue;
      const Program program = lowered(plan, small_moe());
      for (const BlockKind pass : {BlockKind::kForward, BlockKind::kBackward}) {
        const std::vector<Step> steps = copies_of(program, pass, LayerId(5));
        std::map<OpKind, int> count;
        std::map<OpKind, std::int64_t> columns;  // on average over the rows
        std::map<OpKind, std::map<RowPiece, std::int64_t>> rows;
        for (const Step& step : steps) {
          ++count[step.kind];
          columns[step.kind] += step.columns * step.in.count;
          rows[step.kind][step.in.piece] = step.in.count;
        }
        // Where tokens are gathered instead of copies exchanged, all of them and from all ranks.
        if (rows[OpKind::kDispatch].empty()) {
          EXPECT_EQ(rows[OpKind::kCombine].size(), 0U) << schedule->name();
          const auto gathers = std::ranges::count_if(steps, [](const Step& step) {
            return step.kind == OpKind::kAllGather && step.group == GroupKind::kEpEsp &&
                   step.columns == small_moe().hidden && step.out.count == 4 * step.in.count;
          });
          EXPECT_EQ(gathers, 1) << schedule->name();
          EXPECT_EQ(steps.front().in, steps.back().out) << schedule->name();
          continue;
        }
        // Whole, in pieces of columns or in pieces of rows.
        for (const OpKind exchange : {OpKind::kDispatch, OpKind::kCombine}) {
          std::int64_t sum = 0;
          for (const auto& [piece, of_piece] : rows[exchange]) sum += of_piece;
          EXPECT_GT(sum, 0) << schedule->name();
          EXPECT_EQ(columns[exchange], small_moe().hidden * sum) << schedule->name();
        }
        EXPECT_EQ(count[OpKind::kReplicate], count[OpKind::kSumReplicas]) << schedule->name();
        ASSERT_FALSE(steps.empty());
        EXPECT_EQ(steps.front().in, steps.back().out) << schedule->name();
        for (std::size_t i = 1; i < steps.size(); ++i)
          if (steps[i].columns == steps[i - 1].columns &&
              count[OpKind::kSplitColumns] + count[OpKind::kSplitRows] == 0 && steps[i].kind != OpKind::kSortByExpert &&
              steps[i - 1].kind != OpKind::kSortByExpert) {
            EXPECT_EQ(steps[i].in, steps[i - 1].out) << schedule->name() << ' ' << steps[i].name;
          }
      }
    }
}

}  // namespace
}  // namespace moesim
