// Gradients reduced and parameters gathered: each local number once.
#include <gtest/gtest.h>

#include <map>
#include <vector>

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

// Where ZeRO 3 gathers for a single pass, a tied table is gathered for the embedding and again for the head.
Payload gathered(const Chunk& chunk, const Layout& layout, int zero) {
  Payload sum = local(chunk, layout);
  for (const Tensor& tensor : chunk.tensors)
    if (tensor.role == TensorRole::kWeight && tensor.tied && zero == 3 && sum.contains(tensor.replicas))
      sum[tensor.replicas] += tensor.elements();
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
          EXPECT_EQ(payload(block, OpKind::kReduceGrads), every_pass ? all : Payload{})
              << plan.pipeline << " zero " << zero;
        }
        if (block.kind == BlockKind::kForwardFirst) {
          EXPECT_EQ(payload(block, OpKind::kGatherParams),
                    zero == 0 ? Payload{} : gathered(chunk, *program.layout, zero))
              << plan.pipeline << " zero " << zero;
        }
        if (block.kind == BlockKind::kForward) {
          EXPECT_EQ(payload(block, OpKind::kGatherParams),
                    zero == 3 ? gathered(chunk, *program.layout, zero) : Payload{})
              << plan.pipeline << " zero " << zero;
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
  EXPECT_EQ(shared(), 17 * 64);    // two norms per layer and the last one
  plan.sequence_parallel = false;  // every rank sees all rows
  EXPECT_EQ(shared(), 0);
}

// Elements of the epilogue's gradient sums by name, on each stage.
std::vector<std::map<std::string_view, std::int64_t>> sums_by_stage(const Program& program, GroupKind group) {
  std::vector<std::map<std::string_view, std::int64_t>> sums(program.stages.size());
  for (const Block& block : program.blocks)
    for (const Op& op : block.ops)
      if (op.phase == Phase::kGradSync && op.kind != OpKind::kGradNorm && op.group == group) {
        EXPECT_EQ(block.kind, BlockKind::kEpilogue);
        EXPECT_EQ(op.payload_type, DType::kFp32);
        sums[program.chunks[static_cast<std::size_t>(block.chunk)].stage.index()][op.name] += op.payload_elements;
      }
  return sums;
}

// Stages 0 and 3, and 1 and 2, hold the same layers; each pair sums its shards of them.
TEST(GradSync, DualPipeSumsItsTwoCopies) {
  Plan plan = with_pipeline(plan_of({.pp = 4, .dp = 4, .ep = 2, .edp = 2}, 8), "dualpipe");
  for (const int zero : {0, 1, 2, 3}) {
    plan.zero_dense = static_cast<ZeroStage>(zero);
    plan.zero_expert = zero == 0 ? ZeroStage::kOptimizer : ZeroStage::kNone;
    const Program program = lowered(plan, small_moe());
    const auto sums = sums_by_stage(program, GroupKind::kMirror);
    for (std::size_t stage = 0; stage < 4; ++stage) {
      LocalParameters held;
      for (const Chunk& chunk : program.chunks) {
        if (chunk.stage.index() != stage) continue;
        held.dense += local_parameters(chunk).dense;
        held.expert += local_parameters(chunk).expert;
      }
      EXPECT_EQ(sums[stage].at("sync.copy_dense_grads"), zero == 0 ? held.dense : (held.dense + 3) / 4);
      EXPECT_EQ(sums[stage].at("sync.copy_expert_grads"), zero == 0 ? (held.expert + 1) / 2 : held.expert);
      EXPECT_EQ(sums[stage], sums[3 - stage]);
    }
  }
}

TEST(GradSync, OneCopyNeedsNoSum) {
  for (const std::string_view pipeline : kPipelines) {
    if (pipeline == "dualpipe") continue;
    for (const auto& sums :
         sums_by_stage(lowered(with_pipeline(plan_of({.pp = 2, .dp = 2, .ep = 2}, 4), pipeline), small_moe()),
                       GroupKind::kMirror))
      EXPECT_TRUE(sums.empty()) << pipeline;
  }
}

// The table has 1024 / 2 rows of 64 on each TP rank. A shard of its gradient is all that each of 2 data-parallel ranks has from
// ZeRO 1 on, which is the default here.
TEST(GradSync, TiedEmbeddingsAreSummedOverBothEnds) {
  ModelShape tied = small_dense();
  tied.tied_embeddings = true;
  for (const std::string_view pipeline : {"gpipe", "1f1b", "interleaved", "zb1p"})
    for (const int pp : {2, 4}) {
      const Plan plan = with_pipeline(plan_of({.tp = 2, .pp = pp, .dp = 2, .edp = 4}, 4), pipeline);
      const auto sums = sums_by_stage(lowered(plan, tied), GroupKind::kMirror);
      for (std::size_t stage = 0; stage < sums.size(); ++stage) {
        const bool end = stage == 0 || stage + 1 == sums.size();
        EXPECT_EQ(sums[stage], (end ? std::map<std::string_view, std::int64_t>{{"sync.tied_grads", 512 * 64 / 2}}
                                    : std::map<std::string_view, std::int64_t>{}))
            << pipeline << " stage " << stage;
      }
    }
  for (const int zero : {0, 1, 2, 3}) {
    Plan plan = plan_of({.pp = 2, .dp = 2, .edp = 2}, 4);
    plan.zero_dense = static_cast<ZeroStage>(zero);
    EXPECT_EQ(sums_by_stage(lowered(plan, tied), GroupKind::kMirror)[1].at("sync.tied_grads"),
              1024 * 64 / (zero == 0 ? 1 : 2));
  }
}

TEST(GradSync, TiedEmbeddingsOnOneStageAreSummedThere) {
  ModelShape tied = small_dense();
  tied.tied_embeddings = true;
  for (const std::string_view pipeline : {"zbv", "dualpipe", "dualpipev"}) {
    const Program program = lowered(with_pipeline(plan_of({.pp = 2, .dp = 1}, 4), pipeline), tied);
    const auto local_sums = sums_by_stage(program, GroupKind::kSelf);
    EXPECT_EQ(local_sums[0].at("sync.tied_grads"), 1024 * 64) << pipeline;
    EXPECT_EQ(local_sums[1].count("sync.tied_grads"), pipeline == "dualpipe" ? 1U : 0U);  // holds both ends too
    for (const auto& sums : sums_by_stage(program, GroupKind::kMirror)) EXPECT_EQ(sums.count("sync.tied_grads"), 0U);
  }
  const Program whole = lowered(plan_of({.dp = 2, .edp = 2}, 4), tied);  // one chunk: one tensor
  for (const GroupKind group : {GroupKind::kSelf, GroupKind::kMirror})
    EXPECT_TRUE(sums_by_stage(whole, group)[0].empty());
}

// FP8 primary weights travel as FP8, although each layer begins with a norm in BF16.
TEST(GradSync, GathersInTheFormatOfTheMatrices) {
  Plan plan = plan_of({.dp = 4, .edp = 4}, 2);
  plan.precision = "fp8-params";
  for (const Block& block : lowered(plan, small_dense()).blocks)
    for (const Op& op : block.ops)
      if (op.kind == OpKind::kGatherParams && op.payload_elements != 1024 * 64 &&
          op.payload_elements != 1024 * 64 + 64) {
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

// tp 4, heads of 8, hidden 32, FP32. Two key/value heads: each rank holds 32 x 16 of the keys and values that two ranks hold, and
// the message has a place for either head: 2 x 512. Norms of heads are 8 + 8 numbers. Those of layers (32 each, two in the layer,
// one in the head) only differ between ranks with sequence parallelism.
TEST(GradSync, TpSumsWhatItsRanksHaveParts) {
  ModelShape model;
  model.name = "tiny";
  model.hidden = 32;
  model.vocab = 200;
  LayerShape layer;
  layer.attention = {.heads = 4, .kv_heads = 2, .head_dim = 8, .value_head_dim = 8};
  layer.attention.qk_norm = true;
  layer.dense = FfnShape{.width = 48};
  model.kinds = {layer};
  model.layers = {0};
  const auto summed = [&](bool sequence_parallel) {
    Plan plan = plan_of({.tp = 4, .dp = 1, .edp = 4}, 1);
    plan.sequence_parallel = sequence_parallel;
    const Program program = lowered(plan, model);
    std::int64_t elements = 0;
    for (const Op& op : program.blocks.back().ops)
      if (op.kind == OpKind::kReduceGrads && op.group == GroupKind::kTp) elements += op.payload_elements;
    return elements;
  };
  EXPECT_EQ(summed(false), 2 * 32 * 16 + 16);
  EXPECT_EQ(summed(true), 2 * 32 * 16 + 16 + 3 * 32);
}

}  // namespace
}  // namespace moesim
