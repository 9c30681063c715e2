// Weights, gradients, optimizer states and saved activations of a small model, by hand.
//
// Dense layer of small_dense (hidden 64, 8 heads of 16, 4 key/value heads, gated FFN of width 192):
//   qkv 64 * (128 + 128), out 128 * 64, up 64 * 384, down 192 * 64, two norms of 64
//   = 16384 + 8192 + 24576 + 12288 + 128 = 61568
// Embedding and head 1024 * 64 = 65536 each, last norm 64.
#include <gtest/gtest.h>

#include <algorithm>

#include "sim/memory/block_memory.hpp"
#include "sim/memory/memory_walk.hpp"
#include "tests/unit/sim/program/program_testing.hpp"

namespace moesim {
namespace {

constexpr std::int64_t kMatrices = 16384 + 8192 + 24576 + 12288;  // of a dense layer
constexpr std::int64_t kLayer = kMatrices + 128;
constexpr std::int64_t kTable = 65536;
constexpr std::int64_t kNorms = 8 * 128 + 64;
constexpr std::int64_t kModel = 8 * kMatrices + 2 * kTable + kNorms;

StageMemory only_stage(const Plan& plan, const ModelShape& model) {
  const MemoryReport report = walk_memory(lowered(plan, model));
  EXPECT_EQ(report.stages.size(), 1U);
  return report.stages.front();
}

// The gradients of norms add up whole, until a bucket takes them, beside the shard that is kept.
TEST(StaticMemory, Bf16WithEachZeroStage) {
  for (int zero = 0; zero <= 3; ++zero) {
    Plan plan = plan_of({.dp = 4, .edp = 4}, 1);
    plan.zero_dense = static_cast<ZeroStage>(zero);
    plan.zero_expert = ZeroStage::kNone;  // no experts: without effect
    const StageMemory memory = only_stage(plan, small_dense());
    EXPECT_EQ(memory.weights.count(), 2 * kModel / (zero >= 3 ? 4 : 1)) << zero;
    EXPECT_EQ(memory.gradients.count(), zero >= 2 ? 4 * kModel / 4 + 4 * kNorms : 4 * kModel) << zero;
    EXPECT_EQ(memory.optimizer.count(), 12 * kModel / (zero >= 1 ? 4 : 1)) << zero;
    EXPECT_EQ(memory.peak, memory.static_bytes() + memory.saved_activations + memory.working);
  }
}

TEST(StaticMemory, DenseAndExpertParametersAreShardedApart) {
  // Per MoE layer: attention 16384 + 8192, norms 128, router 64 * 16, shared expert 64 * 128 + 64 * 64, and 16 / 2 local
  // experts of 64 * 64 + 32 * 64.
  const std::int64_t dense = kLayer + 7 * (16384 + 8192 + 128 + 1024 + 8192 + 4096) + 2 * kTable + 64;
  const std::int64_t expert = 7 * 8 * (4096 + 2048);
  Plan plan = plan_of({.dp = 8, .ep = 2, .edp = 4}, 1);
  plan.zero_dense = ZeroStage::kOptimizer;
  plan.zero_expert = ZeroStage::kGradients;
  const StageMemory memory = only_stage(plan, small_moe());
  EXPECT_EQ(memory.weights.count(), 2 * (dense + expert));
  EXPECT_EQ(memory.gradients.count(), 4 * dense + 4 * expert / 4);
  EXPECT_EQ(memory.optimizer.count(), 12 * dense / 8 + 12 * expert / 4);
}

TEST(StaticMemory, PrecisionRecipes) {
  Plan plan = plan_of({.dp = 1}, 1);
  plan.precision = "fp8";  // two FP8 copies of what FP8 GEMMs read: not of embedding, head and norms
  EXPECT_EQ(only_stage(plan, small_dense()).weights.count(), 2 * kModel + 2 * 8 * kMatrices);
  plan.precision = "fp8-params";
  EXPECT_EQ(only_stage(plan, small_dense()).weights.count(), 8 * kMatrices + 2 * (kModel - 8 * kMatrices));
  plan.precision = "fp32";  // no master copy beside FP32 weights
  const StageMemory fp32 = only_stage(plan, small_dense());
  EXPECT_EQ(fp32.weights.count(), 4 * kModel);
  EXPECT_EQ(fp32.optimizer.count(), 8 * kModel);
}

TEST(StaticMemory, DualPipeHoldsTheModelTwice) {
  const Program program = lowered(with_pipeline(plan_of({.pp = 2, .dp = 1}, 4), "dualpipe"), small_dense());
  std::int64_t weights = 0;
  for (const StageMemory& stage : walk_memory(program).stages) weights += stage.weights.count();
  EXPECT_EQ(weights, 2 * 2 * kModel);
}

// What one micro-batch of T = 64 tokens keeps per layer in BF16: layer input, normed input, rotated q/k/v (256), core
// output (128), attention output, normed again, FFN up (384), activation (192); and in FP32 the log-sum-exp of 8 heads:
//   2 * 64 * (4 * 64 + 256 + 128 + 384 + 192) + 4 * 64 * 8 = 155648 + 2048 bytes.
constexpr std::int64_t kSaved = 2 * 64 * (4 * 64 + 256 + 128 + 384 + 192) + 4 * 64 * 8;

std::int64_t saved_bytes(const Program& program, int chunk) {
  const LargestRows rows = largest_rows(program);
  std::int64_t sum = 0;
  for (const TensorId id : CarriedTensors(program, chunk).saved_by_forward())
    sum += largest_bytes(program.chunks[static_cast<std::size_t>(chunk)].tensors[id.index()], rows).count();
  return sum;
}

TEST(SavedActivations, OneDenseLayerByHand) {
  Plan plan = plan_of({.pp = 4, .dp = 1}, 4);
  plan.stage_layers = {2, 2, 2, 2};
  EXPECT_EQ(saved_bytes(lowered(plan, small_dense()), 1), 2 * kSaved);
  plan.recompute = Recompute::kFull;  // the inputs of two layers
  EXPECT_EQ(saved_bytes(lowered(plan, small_dense()), 1), 2 * 2 * 64 * 64);
  plan.recompute = Recompute::kSelective;  // layer input, q/k/v before rotation, attention output, FFN up
  EXPECT_EQ(saved_bytes(lowered(plan, small_dense()), 1), 2 * 2 * 64 * (64 + 256 + 64 + 384));
}

// The head keeps the last layer's output, its norm, and the logits in FP32; not those in BF16 that the GEMM wrote.
TEST(SavedActivations, TheHeadByHand) {
  Plan plan = plan_of({.pp = 4, .dp = 1}, 4);
  plan.stage_layers = {2, 2, 2, 2};
  const std::int64_t statistics = 4 * 64 * 3;
  EXPECT_EQ(saved_bytes(lowered(plan, small_dense()), 3), 2 * kSaved + 2 * 2 * 64 * 64 + 4 * 64 * 1024 + statistics);
  plan.recompute = Recompute::kFull;  // which does not reach the head
  EXPECT_EQ(saved_bytes(lowered(plan, small_dense()), 3), 4 * 2 * 64 * 64 + 4 * 64 * 1024 + statistics);
  // FP32 logits are used in place.
  plan.precision = "fp32";
  EXPECT_EQ(saved_bytes(lowered(plan, small_dense()), 3), 4 * 4 * 64 * 64 + 4 * 64 * 1024 + statistics);
}

// Both logits stand side by side while the loss is worked out, FP32 and their gradient in BF16 while that is made.
TEST(SavedActivations, LogitsPeakInTheLoss) {
  Plan plan = plan_of({.dp = 1}, 1);
  ModelShape model = small_dense();
  model.vocab = 1 << 20;
  model.layers = {0};
  const std::int64_t logits = 64 * (1 << 20);
  const StageMemory memory = only_stage(plan, model);
  const std::int64_t peak = (memory.saved_activations + memory.working).count();
  EXPECT_GT(peak, (4 + 2) * logits);
  EXPECT_LT(peak, (4 + 2) * logits + logits / 100);
}

TEST(SavedActivations, LinearAttentionHasNoSoftmax) {
  Plan plan = plan_of({.pp = 4, .dp = 1}, 4);
  plan.stage_layers = {2, 2, 2, 2};
  for (const AttentionKind kind : {AttentionKind::kGrouped, AttentionKind::kLinear}) {
    ModelShape model = small_dense();
    model.kinds[0].attention.kind = kind;
    const Program program = lowered(plan, model);
    const auto& tensors = program.chunks[1].tensors;
    EXPECT_EQ(std::count_if(tensors.begin(), tensors.end(),
                            [](const Tensor& t) { return t.name == "attention.log_sum_exp"; }),
              kind == AttentionKind::kGrouped ? 2 : 0);
  }
}

TEST(SavedActivations, HeadNormsKeepWhatTheyNormalised) {
  Plan plan = plan_of({.pp = 4, .dp = 1}, 4);
  plan.stage_layers = {2, 2, 2, 2};
  ModelShape model = small_dense();
  model.kinds[0].attention.qk_norm = true;
  EXPECT_EQ(saved_bytes(lowered(plan, model), 1), 2 * (kSaved + 2 * 64 * 256));
}

TEST(SavedActivations, TensorParallelismGathersAgainInsteadOfKeeping) {
  Plan plan = plan_of({.tp = 2, .pp = 4, .dp = 1, .edp = 2}, 4);
  plan.stage_layers = {2, 2, 2, 2};
  EXPECT_EQ(saved_bytes(lowered(plan, small_dense()), 1), 2 * kSaved / 2);
  // Without sequence parallelism the four tensors outside the regions are whole.
  plan.sequence_parallel = false;
  EXPECT_EQ(saved_bytes(lowered(plan, small_dense()), 1), 2 * (kSaved + 2 * 64 * 4 * 64) / 2);
}

TEST(SavedActivations, OneForwardOneBackwardHoldsStagesMinusOwnStage) {
  for (const int micro_batches : {2, 8}) {
    Plan plan = plan_of({.pp = 4, .dp = 1}, micro_batches);
    plan.stage_layers = {2, 2, 2, 2};
    const MemoryReport report = walk_memory(lowered(plan, small_dense()));
    for (int stage = 0; stage < 3; ++stage) {
      // When a backward pass begins, all in-flight micro-batches are held; the first stage keeps no received input but
      // the embedding's output, which is as large.
      const StageMemory& memory = report.stages[static_cast<std::size_t>(stage)];
      EXPECT_EQ(memory.saved_activations.count(), std::min(4 - stage, micro_batches) * 2 * kSaved) << stage;
    }
    for (const StageMemory& stage : report.stages) EXPECT_LE(stage.peak, report.worst().peak);
  }
}

TEST(SavedActivations, HoldersAddUpToWhatIsSaved) {
  Plan plan = plan_of({.pp = 4, .dp = 1}, 8);
  plan.stage_layers = {2, 2, 2, 2};
  for (const StageMemory& stage : walk_memory(lowered(plan, small_dense())).stages) {
    std::int64_t sum = 0;
    for (const MemoryHolder& holder : stage.holders) sum += holder.bytes.count();
    EXPECT_EQ(sum, stage.saved_activations.count());
    EXPECT_TRUE(std::is_sorted(stage.holders.begin(), stage.holders.end(),
                               [](const auto& a, const auto& b) { return a.bytes > b.bytes; }));
  }
}

// Gradients that are scattered in every pass stand whole beside their shard until then, but only where there is a group
// to scatter over.
TEST(SavedActivations, UnscatteredGradientsNeedReplicas) {
  Plan plan = plan_of({.dp = 1}, 1);
  plan.zero_dense = ZeroStage::kNone;
  const StageMemory plain = only_stage(plan, small_dense());
  plan.zero_dense = ZeroStage::kGradients;
  EXPECT_EQ(only_stage(plan, small_dense()).peak, plain.peak);
  Plan two = plan_of({.dp = 2, .edp = 2}, 1);
  two.zero_dense = ZeroStage::kGradients;
  const StageMemory scattered = only_stage(two, small_dense());
  EXPECT_GT(scattered.peak - scattered.static_bytes(), plain.peak - plain.static_bytes());
}

TEST(SavedActivations, SkewedRoutingTakesMoreThanBalanced) {
  const Plan plan = plan_of({.dp = 4, .ep = 4}, 2);
  const ModelShape model = small_moe();
  const Bytes balanced = walk_memory(lowered(plan, model)).worst().peak;
  const Bytes skewed = walk_memory(lowered(plan, model, skewed_loads(plan, model, 4, 2, 3))).worst().peak;
  EXPECT_GT(skewed, balanced);
}

}  // namespace
}  // namespace moesim
