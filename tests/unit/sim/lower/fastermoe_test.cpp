// FasterMoE: what travels, what stays, and in which order.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "sim/lower/moe_schedule.hpp"
#include "sim/memory/block_memory.hpp"
#include "sim/program/group_loads.hpp"
#include "tests/unit/sim/program/program_testing.hpp"

namespace moesim {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Plan faster_plan(int ep, int runs, int shadows) {
  Plan plan = plan_of({.dp = ep, .ep = ep}, 2);
  plan.moe_schedule = "fastermoe";
  plan.moe_degree = runs;
  plan.moe_shadows = shadows;
  return plan;
}

const Block& pass_of_program(const Program& program, BlockKind kind) {
  return *std::ranges::find(program.blocks, kind, &Block::kind);
}

std::vector<Op> ops_of_layer(const Program& program, BlockKind kind, LayerId layer) {
  std::vector<Op> ops;
  for (const Op& op : pass_of_program(program, kind).ops)
    if (op.layer == layer) ops.push_back(op);
  return ops;
}

std::vector<OpKind> exchanges(const Program& program, BlockKind kind, LayerId layer) {
  std::vector<OpKind> kinds;
  for (const Op& op : ops_of_layer(program, kind, layer))
    if (op.stream == Stream::kEp) kinds.push_back(op.kind);
  return kinds;
}

RowPiece distance(int index, int of) {
  return {CutBy::kDistance, static_cast<std::int16_t>(index), static_cast<std::int16_t>(of)};
}
RowPiece shadow(int index, int of) {
  return {CutBy::kShadow, static_cast<std::int16_t>(index), static_cast<std::int16_t>(of)};
}

// 64 tokens of a rank, top-2: 128 copies; of 16 experts two are shadowed, in balance 16 copies, 8 for each; the other 112 travel in
// two steps.
TEST(FasterMoe, CopiesForShadowedExpertsStay) {
  const Program program = lowered(faster_plan(4, 2, 2), small_moe());
  const Chunk& chunk = program.chunks[0];
  const std::vector<Op> forward = ops_of_layer(program, BlockKind::kForward, LayerId(3));
  const auto split = std::ranges::find(forward, OpKind::kSplitRows, &Op::kind);
  ASSERT_NE(split, forward.end());
  std::vector<RowCount> pieces;
  for (const TensorId id : split->outputs) pieces.push_back(chunk.tensors[id.index()].rows);
  EXPECT_THAT(
      pieces,
      ElementsAre(RowCount{56, RowSource::kRouted, distance(0, 2)}, RowCount{56, RowSource::kRouted, distance(1, 2)},
                  RowCount{8, RowSource::kRouted, shadow(0, 2)}, RowCount{8, RowSource::kRouted, shadow(1, 2)}));
  // One expert of each batch: an up-projection of 64 to 2 * 32 and a down-projection of 32 to 64, in BF16.
  const auto fetch = std::ranges::find(forward, OpKind::kFetchExperts, &Op::kind);
  ASSERT_NE(fetch, forward.end());
  EXPECT_EQ(chunk.tensors[fetch->outputs[0].index()].bytes(), Bytes(64 * 64 * 2));
  EXPECT_EQ(chunk.tensors[fetch->outputs[1].index()].bytes(), Bytes(32 * 64 * 2));
}

// The network: S_0, S_1, weights, R_0, R_1; backwards the same with the gradients of the weights on their way back.
TEST(FasterMoe, WeightsGoBetweenTheTwoRunsOfExchanges) {
  const Program program = lowered(faster_plan(4, 2, 2), small_moe());
  EXPECT_THAT(exchanges(program, BlockKind::kForward, LayerId(3)),
              ElementsAre(OpKind::kDispatch, OpKind::kDispatch, OpKind::kFetchExperts, OpKind::kFetchExperts,
                          OpKind::kCombine, OpKind::kCombine));
  EXPECT_THAT(exchanges(program, BlockKind::kBackward, LayerId(3)),
              ElementsAre(OpKind::kDispatch, OpKind::kDispatch, OpKind::kReturnExpertGrads, OpKind::kReturnExpertGrads,
                          OpKind::kCombine, OpKind::kCombine));
}

// Backwards shadowed experts come before all others, and their owners add the gradients after all others.
TEST(FasterMoe, ShadowedExpertsComeFirstBackwards) {
  const Program program = lowered(faster_plan(4, 2, 2), small_moe());
  const std::vector<Op> backward = ops_of_layer(program, BlockKind::kBackward, LayerId(3));
  std::vector<std::string_view> order;
  for (const Op& op : backward)
    if (op.kind == OpKind::kGroupedGemmWgrad || op.kind == OpKind::kAddExpertGrads)
      order.push_back(op.kind == OpKind::kAddExpertGrads ? "add" : op.name);
  EXPECT_THAT(order,
              ElementsAre("experts.fetched_down", "experts.fetched_up", "experts.fetched_down", "experts.fetched_up",
                          "experts.down", "experts.up", "experts.down", "experts.up", "add", "add", "add", "add"));
}

// Weights of two shadows of 3 * 64 * 32 numbers of two bytes in each of seven layers: kept from the forward to the backward pass, or
// with full recomputation fetched again.
TEST(FasterMoe, WeightsOfShadowsAreHeldUntilTheBackwardPass) {
  for (const Recompute recompute : {Recompute::kNone, Recompute::kSelective, Recompute::kFull}) {
    Plan plan = faster_plan(4, 2, 2);
    plan.recompute = recompute;
    const Program program = lowered(plan, small_moe());
    std::int64_t kept = 0;
    for (const TensorId id : CarriedTensors(program, 0).saved_by_forward()) {
      const Tensor& tensor = program.chunks[0].tensors[id.index()];
      const bool weights = tensor.rows.source == RowSource::kFixed && tensor.name.starts_with("experts.fetched");
      if (weights) kept += tensor.bytes().count();
    }
    EXPECT_EQ(kept, recompute == Recompute::kFull ? 0 : 7 * 2 * 3 * 64 * 32 * 2);
    const auto fetches = [&](BlockKind kind) {
      return std::ranges::count(pass_of_program(program, kind).ops, OpKind::kFetchExperts, &Op::kind);
    };
    EXPECT_EQ(fetches(BlockKind::kForward), 14);
    EXPECT_EQ(fetches(BlockKind::kBackward), recompute == Recompute::kFull ? 14 : 0);
  }
}

TEST(FasterMoe, RunsDivideTheGroup) {
  const MoeSchedule& schedule = *find_moe_schedule("fastermoe").value();
  EXPECT_THAT(schedule.degrees(faster_plan(16, 0, 0)), ElementsAre(4, 2, 1, 8));
  EXPECT_THAT(schedule.degrees(faster_plan(4, 0, 0)), ElementsAre(2, 1, 4));
  EXPECT_THAT(schedule.degrees(faster_plan(6, 0, 0)), ElementsAre(2, 1, 6, 3));
  EXPECT_THAT(schedule.degrees(faster_plan(1, 0, 0)), ElementsAre(1));
}

TEST(FasterMoe, OthersShadowNothing) {
  Plan plan = faster_plan(4, 0, 2);
  const MoeShape shape = *small_moe().first_moe();
  plan.moe_schedule = "pipemoe";
  const Status other = check_moe_schedule(*find_moe_schedule("pipemoe").value(), plan, shape);
  ASSERT_FALSE(other.has_value());
  EXPECT_THAT(other.error().what, HasSubstr("pipemoe shadows no experts"));
  plan.moe_shadows = 17;
  const Status many = check_moe_schedule(*find_moe_schedule("fastermoe").value(), plan, shape);
  ASSERT_FALSE(many.has_value());
  EXPECT_THAT(many.error().what, HasSubstr("16 experts cannot have 17 shadowed ones"));
  plan = faster_plan(1, 0, 2);
  EXPECT_FALSE(check_moe_schedule(*find_moe_schedule("fastermoe").value(), plan, shape).has_value());
}

// Three sources, six experts on three ranks.
RoutedLoads six_experts() {
  RoutedLoads loads;
  loads.moe_layers = 1;
  loads.sources = 3;
  loads.experts = 6;
  loads.top_k = 2;
  loads.tokens_per_source = 10;
  loads.balanced = false;
  loads.counts = {1, 9, 4, 2, 3, 1,   //
                  2, 8, 1, 5, 4, 0,   //
                  0, 7, 2, 6, 5, 0};  // in all 3 24 7 13 12 1
  return loads;
}

TEST(Shadows, AreTheExpertsWithTheMostCopies) {
  const auto loads = std::make_shared<const RoutedLoads>(six_experts());
  EXPECT_EQ(with_shadows(loads, 0), loads);
  EXPECT_THAT(with_shadows(loads, 1)->shadows, ElementsAre(1));
  EXPECT_THAT(with_shadows(loads, 2)->shadows, ElementsAre(1, 3));
  EXPECT_THAT(with_shadows(loads, 4)->shadows, ElementsAre(1, 2, 3, 4));
  const auto three = with_shadows(loads, 3);  // 1, 3 and 4
  EXPECT_EQ(three->shadow_place(0, 4).index, 2);
  EXPECT_FALSE(three->shadow_place(0, 0).shadowed());
  EXPECT_THAT(three->shadows_in(0, shadow(0, 2)), ElementsAre(1));
  EXPECT_THAT(three->shadows_in(0, shadow(1, 2)), ElementsAre(3, 4));
}

// Expert 1 stays, 24 of 60 copies: rank 0 computes its 3 of expert 0 and its own 9, instead of 27.
TEST(Shadows, TakeTheirLoadToTheSources) {
  const auto loads = with_shadows(std::make_shared<const RoutedLoads>(six_experts()), 1);
  const GroupLoads group(*loads, {0, 1, 2}, 3, 1);
  EXPECT_THAT(group.computed_rows(0, 0, 0), ElementsAre(3, 0, 9));
  EXPECT_THAT(group.computed_rows(0, 0, 1), ElementsAre(7, 13, 8));
  EXPECT_THAT(group.computed_rows(0, 0, 2), ElementsAre(12, 1, 7));
  EXPECT_EQ(group.computed(0, 0, 1), 28);
  std::vector<std::int64_t> matrix;
  group.cut(distance(0, 1)).send_matrix(0, 0, 0, matrix);
  EXPECT_THAT(matrix, ElementsAre(1, 6, 4, 2, 6, 4, 0, 8, 5));
}

// Each copy is in one piece, whatever is shadowed.
TEST(Shadows, PiecesAreTogetherAllCopies) {
  for (const int shadows : {0, 1, 2, 3, 5, 6}) {
    const auto loads = with_shadows(std::make_shared<const RoutedLoads>(six_experts()), shadows);
    const GroupLoads whole(*loads, {0, 1, 2}, 3, 1);
    for (int i = 0; i < 3; ++i) {
      std::int64_t sum = 0;
      for (int step = 0; step < 3; ++step) sum += whole.cut(distance(step, 3)).routed(0, 0, i, 0);
      for (int batch = 0; batch < 2; ++batch) sum += whole.cut(shadow(batch, 2)).routed(0, 0, i, 0);
      EXPECT_EQ(sum, whole.routed(0, 0, i, 0)) << shadows;
    }
  }
}

// Copies of 64 numbers of two bytes against experts of 3 * 32 * 64 with six bytes each: 16 * 96 * 6 = 9216 bytes of experts by width,
// 4 * 2 * 64 * 2 = 1024 of copies of 64 tokens, 16384 of 1024 tokens.
TEST(Janus, MovesWhatIsFewerBytes) {
  Plan plan = faster_plan(4, 0, 0);
  plan.moe_schedule = "janus";
  const MoeSchedule& schedule = *find_moe_schedule("janus").value();
  EXPECT_EQ(schedule.shadows(plan, *small_moe().first_moe()), 0);
  EXPECT_EQ(schedule.same_as(plan, *small_moe().first_moe()), "megatron-a2a");
  EXPECT_THAT(exchanges(lowered(plan, small_moe()), BlockKind::kForward, LayerId(3)),
              ElementsAre(OpKind::kDispatch, OpKind::kCombine));
  plan.seq_length = 576;  // even
  EXPECT_EQ(schedule.shadows(plan, *small_moe().first_moe()), 0);
  plan.seq_length = 1024;
  EXPECT_EQ(schedule.shadows(plan, *small_moe().first_moe()), 16);
  EXPECT_EQ(schedule.same_as(plan, *small_moe().first_moe()), "");
  EXPECT_THAT(exchanges(lowered(plan, small_moe()), BlockKind::kForward, LayerId(3)),
              ElementsAre(OpKind::kFetchExperts, OpKind::kFetchExperts, OpKind::kFetchExperts, OpKind::kFetchExperts,
                          OpKind::kFetchExperts, OpKind::kFetchExperts, OpKind::kFetchExperts, OpKind::kFetchExperts));
  EXPECT_THAT(exchanges(lowered(plan, small_moe()), BlockKind::kBackward, LayerId(3)),
              testing::AllOf(testing::SizeIs(8), testing::Each(OpKind::kReturnExpertGrads)));
}

}  // namespace
}  // namespace moesim
