// Formats on the wire as operations of the program: what is compressed, where, and how many bytes then travel and stay.
#include "sim/program/wire_format.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "sim/engine/op_cost.hpp"
#include "sim/lower/moe_schedule.hpp"
#include "sim/memory/memory_walk.hpp"
#include "tests/unit/sim/program/program_testing.hpp"

namespace moesim {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Plan wire_plan(std::string_view schedule, WireFormat dispatch, WireFormat combine, int degree = 0) {
  Plan plan = plan_of({.dp = 4, .ep = 4}, 2);
  plan.moe_schedule = schedule;
  plan.moe_degree = degree;
  plan.moe_dispatch_format = dispatch;
  plan.moe_combine_format = combine;
  return plan;
}

const Block& pass_of(const Program& program, BlockKind kind) {
  return *std::find_if(program.blocks.begin(), program.blocks.end(),
                       [kind](const Block& block) { return block.kind == kind; });
}

// What is done to token rows on the wire and by the experts, of a layer.
std::vector<OpKind> wire_ops(const Program& program, BlockKind kind, Phase phase) {
  std::vector<OpKind> kinds;
  for (const Op& op : pass_of(program, kind).ops)
    if (op.layer == LayerId(3) && op.phase == phase &&
        (op.kind == OpKind::kCompress || op.kind == OpKind::kDecompress || op.kind == OpKind::kDispatch ||
         op.kind == OpKind::kCombine))
      kinds.push_back(op.kind);
  return kinds;
}

constexpr OpKind kPack = OpKind::kCompress;
constexpr OpKind kUnpack = OpKind::kDecompress;
constexpr OpKind kOut = OpKind::kDispatch;
constexpr OpKind kBack = OpKind::kCombine;

// A dispatch is one in either pass: with FP8 dispatches and BF16 combines of BF16 rows the results come back as they are, and so do
// the gradients of what was dispatched.
TEST(WireFormat, TheKindOfTheExchangeDecides) {
  const Program program = lowered(wire_plan("megatron-a2a", WireFormat::kFp8, WireFormat::kBf16), small_moe());
  EXPECT_THAT(wire_ops(program, BlockKind::kForward, Phase::kForward), ElementsAre(kPack, kOut, kUnpack, kBack));
  EXPECT_THAT(wire_ops(program, BlockKind::kBackward, Phase::kBackwardInput), ElementsAre(kPack, kOut, kUnpack, kBack));
  const Program results = lowered(wire_plan("megatron-a2a", WireFormat::kAsComputed, WireFormat::kFp8), small_moe());
  EXPECT_THAT(wire_ops(results, BlockKind::kForward, Phase::kForward), ElementsAre(kOut, kPack, kBack, kUnpack));
  EXPECT_THAT(wire_ops(results, BlockKind::kBackward, Phase::kBackwardInput), ElementsAre(kOut, kPack, kBack, kUnpack));
}

TEST(WireFormat, NothingIsCompressedToTheFormatItHas) {
  const Program program = lowered(wire_plan("megatron-a2a", WireFormat::kBf16, WireFormat::kBf16), small_moe());
  EXPECT_THAT(wire_ops(program, BlockKind::kForward, Phase::kForward), ElementsAre(kOut, kBack));
}

TEST(WireFormat, NothingIsCompressedWhereNothingTravels) {
  Plan plan = wire_plan("megatron-a2a", WireFormat::kFp8, WireFormat::kFp8);
  plan.layout.sizes = {.dp = 4, .ep = 1, .edp = 4};
  const Program program = lowered(plan, small_moe());
  EXPECT_THAT(wire_ops(program, BlockKind::kForward, Phase::kForward), ElementsAre());
}

std::vector<OpKind> of_stream(const std::vector<OpKind>& kinds, bool network) {
  std::vector<OpKind> found;
  for (const OpKind kind : kinds)
    if (is_communication(kind) == network) found.push_back(kind);
  return found;
}

// ScheMoE's order in both passes: all first compressions, all last decompressions.
TEST(WireFormat, ChunksOfScheMoe) {
  const Program program = lowered(wire_plan("schemoe", WireFormat::kFp8, WireFormat::kFp8, 2), small_moe());
  for (const auto& [pass, phase] :
       {std::pair(BlockKind::kForward, Phase::kForward), std::pair(BlockKind::kBackward, Phase::kBackwardInput)}) {
    const std::vector<OpKind> kinds = wire_ops(program, pass, phase);
    EXPECT_THAT(of_stream(kinds, false), ElementsAre(kPack, kPack, kUnpack, kPack, kUnpack, kPack, kUnpack, kUnpack));
    EXPECT_THAT(of_stream(kinds, true), ElementsAre(kOut, kOut, kBack, kBack));
  }
  // Where each exchange is one call, with what it compresses inside.
  const Program inside = lowered(wire_plan("pipemoe", WireFormat::kFp8, WireFormat::kFp8, 2), small_moe());
  EXPECT_THAT(of_stream(wire_ops(inside, BlockKind::kForward, Phase::kForward), false),
              ElementsAre(kPack, kUnpack, kPack, kUnpack, kPack, kUnpack, kPack, kUnpack));
}

// 100 rows of 256 columns: 51,200 bytes in BF16, 100 * (256 + 2 * 4) = 26,400 in FP8. The gate's weights, 4 bytes a row, come on top.
TEST(WireFormat, BytesOfADispatch) {
  ModelShape model = small_moe();
  model.hidden = 256;
  for (const auto& [format, row] :
       {std::pair(WireFormat::kAsComputed, 512), std::pair(WireFormat::kFp8, 256 + 2 * 4)}) {
    const Program program = lowered(wire_plan("megatron-a2a", format, WireFormat::kAsComputed), model);
    const Chunk& chunk = program.chunks.front();
    for (const BlockKind pass : {BlockKind::kForward, BlockKind::kBackward}) {
      const std::vector<Op>& ops = pass_of(program, pass).ops;
      const auto dispatch = std::find_if(ops.begin(), ops.end(), [](const Op& op) { return op.kind == kOut; });
      ASSERT_NE(dispatch, ops.end());
      const std::int64_t weights = pass == BlockKind::kForward ? 4 : 0;
      EXPECT_EQ(token_row_bytes(*dispatch, chunk).count() - weights, row);
      EXPECT_EQ(100 * (token_row_bytes(*dispatch, chunk).count() - weights), row == 512 ? 51'200 : 26'400);
    }
  }
}

// A partly filled group of columns has a scale too; FP32 rows travel in BF16 without any.
TEST(WireFormat, ScalesOfARow) {
  EXPECT_EQ(scales_of_row(1), 1);
  EXPECT_EQ(scales_of_row(128), 1);
  EXPECT_EQ(scales_of_row(129), 2);
  EXPECT_EQ(scales_of_row(7168), 56);
  Plan plan = wire_plan("megatron-a2a", WireFormat::kBf16, WireFormat::kBf16);
  plan.precision = "fp32";
  const Program program = lowered(plan, small_moe());
  for (const Op& op : pass_of(program, BlockKind::kForward).ops)
    if (op.kind == kPack) {
      EXPECT_EQ(op.outputs.size(), 1);
      EXPECT_EQ(program.chunks.front().tensors[op.outputs[0].index()].type, DType::kBf16);
    }
}

// Bytes of kernels: 100 rows of 256 BF16 columns read and 26,400 bytes written, and the reverse.
TEST(WireFormat, KernelsMoveTheirOperandsOnce) {
  ModelShape model = small_moe();
  model.hidden = 256;
  const Program program = lowered(wire_plan("megatron-a2a", WireFormat::kFp8, WireFormat::kFp8), model);
  RoutedRows rows;
  rows.routed = rows.arrived = 100;
  const auto bytes = [&](const OperandList& list) {
    std::int64_t sum = 0;
    for (const TensorId id : list) {
      const Tensor& tensor = program.chunks.front().tensors[id.index()];
      sum += storage(rows_of(tensor, rows) * tensor.columns, tensor.type).count();
    }
    return sum;
  };
  int looked_at = 0;
  for (const Op& op : pass_of(program, BlockKind::kForward).ops) {
    if (op.kind != kPack && op.kind != kUnpack) continue;
    ++looked_at;
    EXPECT_EQ(bytes(op.kind == kPack ? op.inputs : op.outputs), 51'200);
    EXPECT_EQ(bytes(op.kind == kPack ? op.outputs : op.inputs), 26'400);
  }
  EXPECT_EQ(looked_at, 4 * program.model.moe_layer_count());
}

// With selective recomputation rows are kept compressed and decompressed again.
TEST(WireFormat, SelectiveRecomputationKeepsCompressedRows) {
  Plan plan = wire_plan("megatron-a2a", WireFormat::kFp8, WireFormat::kAsComputed);
  plan.layout.sizes = {.pp = 2, .dp = 4, .ep = 4};
  plan.recompute = Recompute::kSelective;
  const Program program = lowered(plan, small_moe());
  EXPECT_THAT(wire_ops(program, BlockKind::kBackward, Phase::kRecompute), ElementsAre(kUnpack));
  Plan wide = plan;
  wide.moe_dispatch_format = WireFormat::kAsComputed;
  EXPECT_LT(walk_memory(program).stages[0].saved_activations,
            walk_memory(lowered(wide, small_moe())).stages[0].saved_activations);
}

TEST(WireFormat, SchedulesThatExchangeNoRowsRefuseIt) {
  const Plan plan = wire_plan("megatron-allgather", WireFormat::kFp8, WireFormat::kAsComputed);
  const auto schedule = find_moe_schedule("megatron-allgather");
  ASSERT_TRUE(schedule.has_value());
  const Status refused = check_moe_schedule(**schedule, plan, *small_moe().first_moe());
  ASSERT_FALSE(refused.has_value());
  EXPECT_THAT(refused.error().what, HasSubstr("exchanges none"));
  EXPECT_THAT(refused.error().hint, HasSubstr("megatron-a2a"));
  for (const MoeSchedule* other : moe_schedules()) {
    Plan of_other = plan;
    of_other.moe_schedule = other->name();
    if (other->name() == "megatron-allgather" || !other->check(of_other, *small_moe().first_moe())) continue;
    const Program program = lowered(of_other, small_moe());
    EXPECT_FALSE(wire_ops(program, BlockKind::kForward, Phase::kForward).empty()) << other->name();
    const std::vector<OpKind> kinds = wire_ops(program, BlockKind::kForward, Phase::kForward);
    EXPECT_EQ(std::ranges::count(kinds, kPack), std::ranges::count(kinds, kOut)) << other->name();
    EXPECT_EQ(std::ranges::count(kinds, kUnpack), std::ranges::count(kinds, kOut)) << other->name();
  }
}

}  // namespace
}  // namespace moesim
