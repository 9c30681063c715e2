#include "sim/program/block_dependencies.hpp"

#include <gmock/gmock.h>

#include "tests/unit/sim/program/program_testing.hpp"

namespace moesim {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

Op op_of(OperandList inputs, OperandList outputs, int half = 0, std::int32_t after = -1) {
  Op op;
  op.inputs = inputs;
  op.outputs = outputs;
  op.second_half = static_cast<std::int8_t>(half);
  op.after = after;
  return op;
}
constexpr TensorId kX(0), kY(1), kZ(5);

TEST(BlockDependencies, OnTheLastMakerOfTheSameHalfAndAfter) {
  const std::vector<Op> ops = {
      op_of({}, {kX}),              // 0
      op_of({kX}, {kY}),            // 1: 0
      op_of({}, {kX}, 1),           // 2: the other half's X
      op_of({kX, kY}, {kX}, 0, 0),  // 3: 0 and 1, and after 0 all the same
      op_of({kX, kX}, {kZ}),        // 4: 3, once
      op_of({kX, kY}, {}, 1, 1),    // 5: 2; nobody of this half made Y; after 1
      op_of({kZ}, {kZ}),            // 6: 4, not itself
  };
  const BlockDependencies waits = block_dependencies(ops);
  EXPECT_THAT(waits.of(0), IsEmpty());
  EXPECT_THAT(waits.of(1), ElementsAre(0));
  EXPECT_THAT(waits.of(2), IsEmpty());
  EXPECT_THAT(waits.of(3), ElementsAre(0, 1));
  EXPECT_THAT(waits.of(4), ElementsAre(3));
  EXPECT_THAT(waits.of(5), ElementsAre(2, 1));
  EXPECT_THAT(waits.of(6), ElementsAre(4));
}

TEST(BlockDependencies, OfNothing) { EXPECT_TRUE(block_dependencies({}).deps.empty()); }

// All that a program's operations wait for comes before them, and every operand made in the block is among it.
TEST(BlockDependencies, NameEarlierOperationsOfWholePrograms) {
  for (const std::string_view pipeline : kPipelines) {
    Plan plan = with_pipeline(plan_of({.pp = 2, .dp = 4, .ep = 2, .edp = 2}, 4), pipeline);
    plan.zero_dense = ZeroStage::kParameters;
    const Program program = lowered(plan, small_moe());
    for (const Block& block : program.blocks) {
      const BlockDependencies waits = block_dependencies(block.ops);
      ASSERT_EQ(waits.first.size(), block.ops.size() + 1);
      for (std::size_t i = 0; i < block.ops.size(); ++i)
        for (const std::uint32_t dep : waits.of(i)) EXPECT_LT(dep, i) << pipeline << ' ' << block.ops[i].name;
    }
  }
}

}  // namespace
}  // namespace moesim
