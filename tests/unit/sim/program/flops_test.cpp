// The work that stands in a program against the work that the mathematics needs.
#include <gtest/gtest.h>

#include "models/shape/model_flops.hpp"
#include "tests/unit/sim/program/program_testing.hpp"

namespace moesim {
namespace {

struct Products {  // multiply-adds of one rank and micro-batch, by pass
  std::int64_t forward = 0;
  std::int64_t input_gradient = 0;
  std::int64_t weight_gradient = 0;
  std::int64_t again = 0;
};

std::int64_t multiply_adds(const Op& op, const Chunk& chunk) {
  const auto tensor = [&](TensorId id) { return chunk.tensors[id.index()]; };
  switch (op.kind) {
    case OpKind::kGemm:
    case OpKind::kGroupedGemm:
    case OpKind::kGemmDgrad:
    case OpKind::kGroupedGemmDgrad:
      return tensor(op.inputs[0]).rows.count * tensor(op.inputs[1]).rows.count * tensor(op.inputs[1]).columns;
    case OpKind::kGemmWgrad:
    case OpKind::kGroupedGemmWgrad:
      return tensor(op.inputs[0]).rows.count * tensor(op.outputs[0]).rows.count * tensor(op.outputs[0]).columns;
    default: return 0;
  }
}

Products products_of(const Program& program) {
  Products sum;
  for (const Block& block : program.blocks) {
    const Chunk& chunk = program.chunks[static_cast<std::size_t>(block.chunk)];
    if (chunk.model_copy != 0) continue;
    if (block.kind != BlockKind::kForward && block.kind != BlockKind::kBackwardInput &&
        block.kind != BlockKind::kBackwardWeight &&
        !(block.kind == BlockKind::kBackward && program.plan.pipeline == "1f1b"))
      continue;
    for (const Op& op : block.ops) {
      const std::int64_t work = multiply_adds(op, chunk);
      if (op.phase == Phase::kForward) sum.forward += work;
      if (op.phase == Phase::kBackwardInput) sum.input_gradient += work;
      if (op.phase == Phase::kBackwardWeight) sum.weight_gradient += work;
      if (op.phase == Phase::kRecompute) sum.again += work;
    }
  }
  return sum;
}

// Weights of matrix products that a token passes, the head on its padded vocabulary.
std::int64_t matrix_weights(const ModelShape& model, int tp) {
  std::int64_t norms = model.hidden;
  for (int i = 0; i < model.layer_count(); ++i) norms += model.layer(LayerId(i)).norms * model.hidden;
  return count_parameters(model).active_no_input_embedding - norms +
         (padded_vocab(model.vocab, tp) - model.vocab) * model.hidden;
}

void expect_model_flops(const ModelShape& model, const ParallelSizes& sizes, std::string_view pipeline) {
  Plan plan = with_pipeline(plan_of(sizes, 4 * sizes.pp), pipeline);
  plan.seq_length = 512;
  const Products products = products_of(lowered(plan, model));
  // The ranks of one TP x CP group work on one micro-batch together.
  const std::int64_t expected = matrix_weights(model, sizes.tp) * plan.seq_length;
  const std::int64_t ranks = sizes.tp * sizes.cp;
  EXPECT_EQ(products.forward * ranks, expected) << model.name << ' ' << pipeline;
  EXPECT_EQ(products.input_gradient * ranks, expected) << model.name << ' ' << pipeline;
  EXPECT_EQ(products.weight_gradient * ranks, expected) << model.name << ' ' << pipeline;
  EXPECT_EQ(products.again, 0) << model.name << ' ' << pipeline;
}

TEST(ProgramFlops, MatrixProductsAreThoseOfTheModel) {
  for (const char* name : {"mixtral-8x7b", "qwen3-30b-a3b", "olmoe-1b-7b", "gpt-oss-20b", "deepseek-v2-lite",
                           "deepseek-v3", "qwen3-next-80b-a3b"}) {
    const ModelShape model = zoo(name);
    expect_model_flops(model, {.dp = 4, .ep = 4}, "1f1b");
    expect_model_flops(model, {.tp = 2, .pp = 2, .dp = 2, .ep = 2, .esp = 2}, "1f1b");
    expect_model_flops(model, {.tp = 2, .cp = 2, .pp = 2, .dp = 1, .ep = 4}, "zb1p");
  }
  expect_model_flops(zoo("llama3-8b"), {.tp = 2, .cp = 2, .pp = 2, .dp = 1, .edp = 4}, "1f1b");
}

TEST(ProgramFlops, AttentionCoresCoverAllHeadsAndQueries) {
  const ModelShape model = small_mla();
  const Plan plan = plan_of({.tp = 2, .cp = 2, .dp = 1, .ep = 4}, 1);
  const Program program = lowered(plan, model);
  ASSERT_EQ(program.chunks.size(), 1U);
  ASSERT_EQ(program.chunks[0].attentions.size(), 8U);
  for (const AttentionWork& work : program.chunks[0].attentions) {
    EXPECT_EQ(work.heads * 2, 8);
    EXPECT_EQ(work.query_length * 2, plan.seq_length);
    EXPECT_EQ(work.key_length, plan.seq_length);
    EXPECT_EQ(work.qk_dim, 24);
    EXPECT_EQ(work.v_dim, 16);
  }
}

// Selective recomputation repeats no matrix product; full recomputation repeats each of a layer's whose result or whose
// later result the backward pass reads: all but the last of each residual branch's chain (attention's output projection
// is needed by the FFN's norm, the down-projections by nothing).
TEST(ProgramFlops, RecomputationRepeatsWhatItSays) {
  const ModelShape model = small_dense();
  Plan plan = plan_of({.dp = 1}, 1);
  plan.recompute = Recompute::kSelective;
  EXPECT_EQ(products_of(lowered(plan, model)).again, 0);
  plan.recompute = Recompute::kFull;
  // Per layer and token: qkv 64 * (128 + 128), out 128 * 64, up 64 * 384.
  EXPECT_EQ(products_of(lowered(plan, model)).again, 8 * 64 * (64 * 256 + 128 * 64 + 64 * 384));
}

}  // namespace
}  // namespace moesim
