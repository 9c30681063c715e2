// Gradients reduced and parameters gathered: each local number once.
#include <gtest/gtest.h>

#include <map>

#include "sim/lower/grad_sync.hpp"
#include "tests/unit/sim/program/program_testing.hpp"

namespace moesim {
namespace {

using Payload = std::map<GroupKind, std::int64_t>;

Payload payload(const Block& block, OpKind kind) {
  Payload sum;
  for (const Op& op : block.ops)
    if (op.kind == kind && op.group != GroupKind::kTp) sum[op.group] += op.payload_elements;
  return sum;
}

Payload local(const Chunk& chunk, const Layout& layout) {
  const LocalParameters parameters = local_parameters(chunk);
  Payload sum;
  if (layout.group_size(GroupKind::kDpCp) > 1) sum[GroupKind::kDpCp] = parameters.dense;
  if (layout.group_size(GroupKind::kEdp) > 1 && parameters.expert > 0) sum[GroupKind::kEdp] = parameters.expert;
  return sum;
}

bool is_last(BlockKind kind, bool split) {
  return kind == (split ? BlockKind::kBackwardWeightLast : BlockKind::kBackwardLast);
}
bool is_other_gradient_pass(BlockKind kind, bool split) {
  return kind == (split ? BlockKind::kBackwardWeight : BlockKind::kBackward);
}

void expect_each_gradient_once(Plan plan, const ModelShape& model) {
  for (int zero = 0; zero <= 3; ++zero)
    for (const std::int64_t bucket : {1LL, 5'000LL, 40'000'000LL}) {
      plan.zero_dense = plan.zero_expert = static_cast<ZeroStage>(zero);
      plan.grad_bucket_elements = bucket;
      const Program program = lowered(plan, model);
      const bool split = find_pipeline_schedule(plan.pipeline).value()->splits_backward();
      for (const Block& block : program.blocks) {
        const Chunk& chunk = program.chunks[static_cast<std::size_t>(block.chunk)];
        const Payload all = local(chunk, *program.layout);
        const bool every_pass = zero >= 2;
        if (is_last(block.kind, split)) {
          EXPECT_EQ(payload(block, OpKind::kReduceGrads), all) << plan.pipeline << " zero " << zero;
        }
        if (is_other_gradient_pass(block.kind, split) && !(split && block.kind == BlockKind::kBackward)) {
          EXPECT_EQ(payload(block, OpKind::kReduceGrads), every_pass ? all : Payload{}) << plan.pipeline << " zero " << zero;
        }
        if (block.kind == BlockKind::kForwardFirst) {
          EXPECT_EQ(payload(block, OpKind::kGatherParams), zero == 0 ? Payload{} : all) << plan.pipeline << " zero " << zero;
        }
        if (block.kind == BlockKind::kForward) {
          EXPECT_EQ(payload(block, OpKind::kGatherParams), zero == 3 ? all : Payload{}) << plan.pipeline << " zero " << zero;
        }
      }
    }
}

TEST(GradSync, EachGradientIsReducedOnceAndEachParameterGatheredOnce) {
  expect_each_gradient_once(plan_of({.dp = 4, .ep = 2, .edp = 2}, 2), small_moe());  // embedding and head on one chunk
  expect_each_gradient_once(plan_of({.tp = 2, .cp = 2, .pp = 2, .dp = 2, .ep = 2, .esp = 2, .edp = 2}, 4), small_mla());
  expect_each_gradient_once(with_pipeline(plan_of({.pp = 2, .dp = 4, .ep = 2, .edp = 2}, 4), "zb1p"), small_moe());
  ModelShape tied = small_dense();
  tied.tied_embeddings = true;
  expect_each_gradient_once(plan_of({.dp = 4, .edp = 4}, 2), tied);
}

TEST(GradSync, NothingToDoWithoutReplicas) {
  for (const int zero : {0, 1, 2, 3}) {
    Plan plan = plan_of({.tp = 4, .dp = 1, .ep = 4}, 2);
    plan.zero_dense = plan.zero_expert = static_cast<ZeroStage>(zero);
    for (const Block& block : lowered(plan, small_moe()).blocks) {
      EXPECT_TRUE(payload(block, OpKind::kReduceGrads).empty());
      EXPECT_TRUE(payload(block, OpKind::kGatherParams).empty());
    }
  }
}

TEST(GradSync, WithoutOverlapItStandsBeforeAndAfterTheStep) {
  Plan plan = plan_of({.pp = 2, .dp = 4, .ep = 2, .edp = 2}, 4);
  plan.overlap_grad_reduce = plan.overlap_param_gather = false;
  const Program program = lowered(plan, small_moe());
  for (const Block& block : program.blocks) {
    const Payload all = local(program.chunks[static_cast<std::size_t>(block.chunk)], *program.layout);
    const bool epilogue = block.kind == BlockKind::kEpilogue;
    const bool prologue = block.kind == BlockKind::kPrologue;
    EXPECT_EQ(payload(block, OpKind::kReduceGrads), epilogue ? all : Payload{}) << block_kind_name(block.kind);
    EXPECT_EQ(payload(block, OpKind::kGatherParams), prologue ? all : Payload{}) << block_kind_name(block.kind);
  }
}

TEST(GradSync, TpRanksSumTheGradientsOfWhatTheyAllHold) {
  Plan plan = plan_of({.tp = 2, .dp = 2, .edp = 4}, 2);
  const auto shared = [&plan] {
    std::int64_t sum = 0;
    for (const Block& block : lowered(plan, small_dense()).blocks)
      for (const Op& op : block.ops)
        if (op.kind == OpKind::kReduceGrads && op.group == GroupKind::kTp) sum += op.payload_elements;
    return sum;
  };
  EXPECT_EQ(shared(), 17 * 64);  // two norms per layer and the last one
  plan.sequence_parallel = false;  // every rank sees all rows
  EXPECT_EQ(shared(), 0);
}

// FP8 primary weights travel as FP8, although each layer begins with a norm in BF16.
TEST(GradSync, GathersInTheFormatOfTheMatrices) {
  Plan plan = plan_of({.dp = 4, .edp = 4}, 2);
  plan.precision = "fp8-params";
  for (const Block& block : lowered(plan, small_dense()).blocks)
    for (const Op& op : block.ops)
      if (op.kind == OpKind::kGatherParams && op.payload_elements != 1024 * 64 && op.payload_elements != 1024 * 64 + 64) {
        EXPECT_EQ(op.payload_type, DType::kFp8);
      }
}

TEST(GradSync, TheOptimizerStepsOverTheShard) {
  Plan plan = plan_of({.dp = 4, .ep = 2, .edp = 2}, 2);
  for (const bool sharded : {false, true}) {
    plan.zero_dense = plan.zero_expert = sharded ? ZeroStage::kOptimizer : ZeroStage::kNone;
    const Program program = lowered(plan, small_moe());
    const LocalParameters parameters = local_parameters(program.chunks[0]);
    std::map<std::string_view, std::int64_t> stepped;
    for (const Op& op : program.blocks.back().ops)
      if (op.kind == OpKind::kOptimizerStep) stepped[op.name] += op.payload_elements;
    EXPECT_EQ(stepped["optimizer.dense"], parameters.dense / (sharded ? 4 : 1));
    EXPECT_EQ(stepped["optimizer.expert"], parameters.expert / (sharded ? 2 : 1));
  }
}

}  // namespace
}  // namespace moesim
