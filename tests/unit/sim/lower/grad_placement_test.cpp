// Gradient reductions between the exchanges of MoE layers: Lina's micro-ops, FSMoE's pieces.
#include "sim/lower/grad_placement.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>

#include "tests/unit/sim/program/program_testing.hpp"

namespace moesim {
namespace {

using testing::ElementsAre;

Op op_of(OpKind kind, Stream stream, int layer, std::int32_t after = -1) {
  Op op;
  op.kind = kind;
  op.stream = stream;
  op.phase = kind == OpKind::kReduceGrads ? Phase::kGradSync : Phase::kBackwardInput;
  op.layer = LayerId(layer);
  op.after = after;
  return op;
}

// "C5 R D5": exchanges towards the experts, reductions and exchanges back, of the stream of exchanges.
std::string exchanges(const std::vector<Op>& ops, Stream stream) {
  std::string text;
  for (const Op& op : ops) {
    if (op.stream != stream) continue;
    if (!text.empty()) text += ' ';
    if (op.kind == OpKind::kReduceGrads)
      text += 'R';
    else
      text += (op.kind == OpKind::kDispatch ? "C" : "D") + std::to_string(op.layer.value());
  }
  return text;
}

// The worked example of the header, and a third reduction that no layer is left for.
TEST(GradPlacement, OneReductionBehindEachExchangeTowardsTheExperts) {
  std::vector<Op> ops;
  ops.push_back(op_of(OpKind::kGemmWgrad, Stream::kCompute, 6));
  ops.push_back(op_of(OpKind::kReduceGrads, Stream::kDp, -1, 0));
  ops.push_back(op_of(OpKind::kReduceGrads, Stream::kDp, -1, 0));
  ops.push_back(op_of(OpKind::kReduceGrads, Stream::kDp, -1, 0));
  for (const int layer : {5, 4}) {
    ops.push_back(op_of(OpKind::kDispatch, Stream::kEp, layer));
    ops.push_back(op_of(OpKind::kGroupedGemmDgrad, Stream::kCompute, layer));
    ops.push_back(op_of(OpKind::kCombine, Stream::kEp, layer));
  }
  ops.push_back(op_of(OpKind::kReduceGrads, Stream::kDp, -1, 8));
  place_between_exchanges(ops);
  EXPECT_EQ(exchanges(ops, Stream::kEp), "C5 R D5 C4 R D4");
  EXPECT_EQ(exchanges(ops, Stream::kDp), "R R");
  for (const Op& op : ops)
    if (op.kind == OpKind::kReduceGrads) {
      const Op& awaited = ops[static_cast<std::size_t>(op.after)];
      EXPECT_TRUE(awaited.kind == OpKind::kGemmWgrad || awaited.layer == LayerId(4));
    }
  EXPECT_EQ(ops.back().after, 8);  // five operations stand before C4, as they did
}

// Copies in pieces: all of them go out first.
TEST(GradPlacement, BehindTheLastPiece) {
  std::vector<Op> ops;
  ops.push_back(op_of(OpKind::kReduceGrads, Stream::kDp, -1));
  for (const OpKind kind : {OpKind::kDispatch, OpKind::kDispatch, OpKind::kCombine, OpKind::kCombine})
    ops.push_back(op_of(kind, Stream::kEp, 3));
  place_between_exchanges(ops);
  EXPECT_EQ(exchanges(ops, Stream::kEp), "C3 C3 R D3 D3");
}

TEST(GradPlacement, EveryGradientIsStillReducedOnce) {
  Plan plan = plan_of({.dp = 4, .ep = 2, .edp = 2}, 2);
  plan.zero_dense = plan.zero_expert = ZeroStage::kOptimizer;
  plan.grad_bucket_elements = 2000;
  std::map<GradPlacement, std::map<std::pair<BlockKind, GroupKind>, std::int64_t>> reduced;
  int between = 0;
  for (const GradPlacement placement : {GradPlacement::kAsReady, GradPlacement::kBetweenExchanges}) {
    plan.grad_placement = placement;
    for (const Block& block : lowered(plan, small_moe()).blocks)
      for (const Op& op : block.ops) {
        if (op.kind != OpKind::kReduceGrads) continue;
        reduced[placement][{block.kind, op.group}] += op.payload_elements;
        between += op.stream == Stream::kEp ? 1 : 0;
      }
  }
  EXPECT_GT(between, 1);
  EXPECT_EQ(reduced[GradPlacement::kAsReady], reduced[GradPlacement::kBetweenExchanges]);
}

TEST(GradPlacement, NotWhereGradientsMayNotWait) {
  Plan plan = plan_of({.dp = 4, .ep = 2, .edp = 2}, 2);
  plan.grad_placement = GradPlacement::kBetweenExchanges;
  plan.zero_dense = ZeroStage::kGradients;
  const Status status = check_plan(plan, small_moe(), 4);
  ASSERT_FALSE(status.has_value());
  EXPECT_THAT(status.error().what, testing::HasSubstr("ZeRO 2 and 3"));
}

}  // namespace
}  // namespace moesim
