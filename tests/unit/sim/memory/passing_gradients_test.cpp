// Whole gradients of ZeRO 2 and 3: what computes waits for reductions, and the walk counts what that leaves standing.
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "sim/lower/grad_sync.hpp"
#include "sim/memory/block_memory.hpp"
#include "sim/memory/memory_walk.hpp"
#include "sim/program/block_dependencies.hpp"
#include "tests/unit/sim/program/program_testing.hpp"

namespace moesim {
namespace {

// Three weights of ten numbers, each a bucket of its own, on two ranks: an activation Y of 25 numbers in the forward pass, and
// three weight gradients in the backward pass.
struct ThreeBuckets {
  explicit ThreeBuckets(ZeroStage zero) {
    program.plan = plan_of({.dp = 2, .edp = 2}, 1);
    program.plan.zero_dense = zero;
    program.plan.grad_bucket_elements = 10;
    program.model = small_dense();
    program.layout = std::make_shared<const Layout>(Layout::make(program.plan.layout, 2).value());
    program.loads = std::make_shared<const RoutedLoads>();
    Chunk& chunk = program.chunks.emplace_back();
    chunk.stage = StageId(0);
    std::vector<Op> backward;
    for (int i = 0; i < 3; ++i) {
      Op gradient;
      gradient.kind = OpKind::kGemmWgrad;
      gradient.phase = Phase::kBackwardWeight;
      const TensorId weight = add({.role = TensorRole::kWeight, .type = DType::kFp32, .rows = {10}, .columns = 1});
      gradient.outputs = {add({.role = TensorRole::kWeightGradient,
                               .type = DType::kFp32,
                               .rows = {10},
                               .columns = 1,
                               .gradient_of = weight})};
      backward.push_back(gradient);
    }
    Op forward;
    forward.outputs = {add({.role = TensorRole::kActivation, .type = DType::kFp32, .rows = {25}, .columns = 1})};
    add_grad_reductions(backward, chunk, program.plan, *program.layout, WhichPass::kEvery, program.buckets);
    program.blocks = {{BlockKind::kForward, 0, -1, {forward}}, {BlockKind::kBackward, 0, -1, backward}};
    program.stages = {{{{1, 0, -1}, {0, 1, -1}, {1, 1, -1}}}};  // backward, forward, backward
  }
  TensorId add(const Tensor& tensor) {
    std::vector<Tensor>& tensors = program.chunks[0].tensors;
    tensors.push_back(tensor);
    return TensorId(static_cast<std::int32_t>(tensors.size()) - 1);
  }
  [[nodiscard]] const std::vector<Op>& backward() const { return program.blocks[1].ops; }

  Program program;
};

// Gradients at 0, 2 and 4, their reductions at 1, 3 and 5: the third gradient waits for the first reduction, and the first
// for those of earlier passes.
TEST(PassingGradients, BucketsBeginOneReductionBehind) {
  for (const ZeroStage zero : {ZeroStage::kGradients, ZeroStage::kParameters}) {
    const ThreeBuckets three(zero);
    const std::vector<Op>& ops = three.backward();
    ASSERT_EQ(ops.size(), 6U);
    for (const std::size_t reduction : {1U, 3U, 5U}) EXPECT_EQ(ops[reduction].kind, OpKind::kReduceGrads);
    EXPECT_EQ(ops[0].wait_streams, stream_bit(Stream::kDp));
    EXPECT_EQ(ops[0].after, -1);
    EXPECT_EQ(ops[2].wait_streams, 0);
    EXPECT_EQ(ops[2].after, -1);
    EXPECT_EQ(ops[4].wait_streams, 0);
    const auto waits = block_dependencies(ops);
    EXPECT_EQ(std::vector<std::uint32_t>(waits.of(4).begin(), waits.of(4).end()), std::vector<std::uint32_t>{1});
  }
}

TEST(PassingGradients, WholeGradientsThatStayHoldNothingUp) {
  for (const ZeroStage zero : {ZeroStage::kNone, ZeroStage::kOptimizer}) {
    const ThreeBuckets three(zero);
    for (const Op& op : three.backward()) {
      EXPECT_EQ(op.wait_streams, 0);
      EXPECT_EQ(op.after, -1);
    }
  }
}

// Of 40 bytes each there are two at a time: one that adds up and one that is being reduced. The last two are still on their way
// when the pass ends. The forward pass behind it has its 100 bytes beside them; the next backward pass begins with neither.
TEST(PassingGradients, TheWalkCountsWhatIsBeingReduced) {
  const ThreeBuckets three(ZeroStage::kGradients);
  const Program& program = three.program;
  const std::vector<CarriedTensors> carried = {CarriedTensors(program, 0)};
  const BlockMemory backward = block_memory(program, program.blocks[1], carried, largest_rows(program));
  EXPECT_EQ(backward.peak, 80);
  EXPECT_EQ(backward.in_reduction, 80);
  EXPECT_EQ(backward.change, 0);
  EXPECT_EQ(backward.peak_in_front, 0);
  EXPECT_TRUE(backward.waits_for_reductions);
  const BlockMemory forward = block_memory(program, program.blocks[0], carried, largest_rows(program));
  EXPECT_EQ(forward.peak_in_front, 100);
  EXPECT_FALSE(forward.waits_for_reductions);
  const StageMemory stage = walk_memory(program).stages[0];
  EXPECT_EQ(stage.activation_by_call, (std::vector<Bytes>{Bytes(80), Bytes(180), Bytes(80)}));
}

}  // namespace
}  // namespace moesim
