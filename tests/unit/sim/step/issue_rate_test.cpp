// The host's rate of launches in the price of operations and of a step.
#include <gtest/gtest.h>

#include "sim/engine/op_cost.hpp"
#include "tests/unit/sim/step/step_testing.hpp"

namespace moesim {
namespace {

constexpr Picoseconds kInterval = 6'000'000;  // 6 us

// Every operation of a model this small is shorter than its launches.
TEST(IssueRate, SmallOperationsTakeTheirLaunches) {
  const TestCluster cluster(small_nodes(1, 1));
  const Program program = lowered(plan_of({.dp = 1}, 2), small_moe());
  const PricedProgram priced = price(program, cluster.costs(), {});
  for (std::size_t b = 0; b < program.blocks.size(); ++b)
    for (std::size_t i = 0; i < program.blocks[b].ops.size(); ++i) {
      const Op& op = program.blocks[b].ops[i];
      if (is_communication(op.kind)) continue;
      const Picoseconds time = priced.replay.durations.front()[priced.replay.blocks[b].ops[i].duration];
      EXPECT_GE(time, kernels_of(op) * kInterval) << op_kind_name(op.kind) << " " << op.name;
      if (op.kind == OpKind::kTopK) {
        EXPECT_EQ(time, 4 * kInterval);
      }
      if (op.kind == OpKind::kNorm) {
        EXPECT_EQ(time, kInterval);
      }
      if (op.kind == OpKind::kNormGrad) {
        EXPECT_EQ(time, 2 * kInterval);
      }
      if (op.kind == OpKind::kRotary) {
        EXPECT_EQ(time, 2 * kInterval);  // queries and keys
      }
    }
}

TEST(IssueRate, NormsOfHeadsAreKernelsOfTheirOwn) {
  ModelShape model = small_dense();
  model.kinds[0].attention.qk_norm = true;
  int rotations = 0;
  for (const Block& block : lowered(plan_of({.dp = 1}, 1), model).blocks)
    for (const Op& op : block.ops)
      if (op.kind == OpKind::kRotary) {
        ++rotations;
        EXPECT_EQ(kernels_of(op), 4);
      }
  EXPECT_GT(rotations, 0);
}

// A marker is no kernel.
TEST(IssueRate, MarkersCostNothing) {
  Op marker;
  marker.kind = OpKind::kOptimizerStep;
  EXPECT_EQ(kernels_of(marker), 0);
  marker.payload_elements = 1;
  EXPECT_EQ(kernels_of(marker), 1);
}

}  // namespace
}  // namespace moesim
