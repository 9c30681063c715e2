// Comet's two kernels under clocks worked by hand, and what their pieces save.
#include <gtest/gtest.h>

#include "sim/engine/op_cost.hpp"
#include "tests/unit/sim/layer/clocked_layer.hpp"

namespace moesim {
namespace {

LayerCase eight_ranks() { return layer_case(layer_plan(8, 1, 1)); }

Plan comet_plan(const LayerCase& layer, int degree, double share = 0) {
  Plan plan = plan_of_schedule(layer, "comet", LayerBoundary::kWhole).value();
  plan.moe_degree = degree;
  plan.comm_sm_share = share;
  return plan;
}

// An exchange of a piece 10, its up-projection 6, a block of the down-projection 4, everything else nothing.
Picoseconds by_hand(const Op& op) {
  if (op.fusion == Fusion::kAddressing) return 0;
  if (op.kind == OpKind::kDispatch || op.kind == OpKind::kCombine) return 10;
  if (op.kind == OpKind::kGroupedGemm && op.name == "experts.up") return 6;
  return op.kind == OpKind::kGroupedGemm ? 4 : 0;
}

// D_0 to 10, D_1 to 20; U_0 10 to 16, U_1 20 to 26; W_0 to 30, W_1 to 34; C_0 30 to 40, C_1 to 50.
TEST(Comet, TwoPiecesByHand) {
  const Testbed bed = testbed(2);
  const LayerCase layer = eight_ranks();
  EXPECT_EQ(ClockedLayer(layer, comet_plan(layer, 2), BlockKind::kForward, *bed.costs).play(by_hand), 50);
}

// As many pieces as ranks: own rows need no exchange. D_1 ... D_7 to 70, beside them U_0 0 to 6 and the others 6 after their rows,
// U_7 to 76; W_0 to 80 and so on to 108; C_0 ... C_7 from 80 to 160.
TEST(Comet, OwnRowsComeFirst) {
  const Testbed bed = testbed(2);
  const LayerCase layer = eight_ranks();
  ClockedLayer played(layer, comet_plan(layer, 8), BlockKind::kForward, *bed.costs);
  EXPECT_EQ(played.play(by_hand), 160);
  int free = 0;
  for (const Op& op : played.ops()) free += op.kind == OpKind::kDispatch && op.fusion == Fusion::kAddressing ? 1 : 0;
  EXPECT_EQ(free, 1);
}

// Half of the compute units with the exchange: beside it computation takes twice as long. U_0 begins at 10 and has done 5 of 6 when D_1
// ends at 20, and ends at 21; U_1 to 27, W_0 to 31; C_0 31 to 41, beside it W_1 to 39; C_1 to 51.
TEST(Comet, ItsExchangesHoldTheShareOfThePlan) {
  const Testbed bed = testbed(2);
  const LayerCase layer = eight_ranks();
  EXPECT_EQ(ClockedLayer(layer, comet_plan(layer, 2, 0.5), BlockKind::kForward, *bed.costs).play(by_hand), 51);
}

// Backwards gradients arrive by blocks of columns and leave by pieces of rows: D_1, D_0 to 20; each block's input gradient 8, to 18 and
// 28; pieces 12 each to 40 and 52; C_1 40 to 50, C_0 52 to 62.
TEST(Comet, BackwardsByHand) {
  const Testbed bed = testbed(2);
  const LayerCase layer = eight_ranks();
  ClockedLayer played(layer, comet_plan(layer, 2), BlockKind::kBackward, *bed.costs);
  EXPECT_EQ(played.play([](const Op& op) -> Picoseconds {
    if (op.kind == OpKind::kDispatch || op.kind == OpKind::kCombine) return 10;
    if (op.kind != OpKind::kGroupedGemmDgrad) return 0;
    return op.name == "experts.up" ? 12 : 8;
  }),
            62);
}

Seconds time_of(const ClockedLayer& layer, const CostModel& costs, const Op& op) {
  const std::vector<std::int64_t> rows = {512};
  RoutedRows routed;
  routed.arrived = routed.arrived_shards = routed.routed = 512;
  routed.per_expert = rows;
  return compute_cost(costs, 0, op, layer.program().chunks.front(), find_precision("fp32").value(), routed).time;
}

// A later piece is the time of its GEMM less the start of a kernel; addressing takes none; the first piece is issued and started.
TEST(Comet, LaterPiecesAreNotStarted) {
  const Testbed bed = testbed(2);
  const LayerCase layer = eight_ranks();
  const ClockedLayer played(layer, comet_plan(layer, 2), BlockKind::kForward, *bed.costs);
  std::vector<Seconds> up;
  for (const Op& op : played.ops()) {
    if (op.kind == OpKind::kGroupedGemm && op.name == "experts.up") {
      up.push_back(time_of(played, *bed.costs, op));
      Op alone = op;
      alone.fusion = Fusion::kNone;
      const Seconds started = time_of(played, *bed.costs, alone);
      EXPECT_EQ(op.fusion, up.size() == 1 ? Fusion::kNone : Fusion::kPiece);
      const Seconds start = up.size() == 1 ? Seconds(0) : bed.costs->parameters(0).gemm.overhead;
      EXPECT_NEAR(up.back().value(), (started - start).value(), 1e-15);
    }
    if (op.kind == OpKind::kJoinRows || op.kind == OpKind::kSplitRows || op.kind == OpKind::kJoinColumns) {
      EXPECT_EQ(time_of(played, *bed.costs, op), Seconds(0)) << op.name;
    }
  }
  EXPECT_EQ(up.size(), 2U);
}

// Two exchanges of the first kernel, two of the second: each second one is short of the start that an empty exchange takes.
TEST(Comet, LaterExchangesHaveBegunAlready) {
  const Testbed bed = testbed(2);
  const LayerCase layer = eight_ranks();
  const Program program = lower_layer(layer, comet_plan(layer, 2), {.passes = LayerPasses::kForward}).value();
  const PricedProgram priced = price(program, *bed.costs, {});
  Program apart = program;
  for (Op& op : apart.blocks.front().ops) op.fusion = Fusion::kNone;
  const PricedProgram started = price(apart, *bed.costs, {});
  std::vector<Picoseconds> saved;
  for (std::size_t i = 0; i < program.blocks.front().ops.size(); ++i) {
    if (program.blocks.front().ops[i].kind != OpKind::kDispatch) continue;
    const auto duration = [&](const PricedProgram& of) {
      return of.replay.durations[of.replay.entities.front().durations][of.replay.blocks.front().ops[i].duration];
    };
    saved.push_back(duration(started) - duration(priced));
  }
  ASSERT_EQ(saved.size(), 2U);
  EXPECT_EQ(saved[0], 0);
  EXPECT_GT(saved[1], 0);
}

}  // namespace
}  // namespace moesim
