// What the ranks hold together is the model: sharding and replication undone, padding known.
#include <gtest/gtest.h>

#include "tests/unit/sim/program/program_testing.hpp"

namespace moesim {
namespace {

std::int64_t padding(const ModelShape& model, int tp) {
  const std::int64_t rows = padded_vocab(model.vocab, tp) - model.vocab;
  return rows * (model.hidden * (model.tied_embeddings ? 1 : 2) + (model.lm_head_bias ? 1 : 0));
}

std::int64_t whole(const Tensor& tensor, const ParallelSizes& sizes) {
  if (tensor.replicas == GroupKind::kEdp) return tensor.elements() * sizes.ep * (tensor.same_on_esp ? 1 : sizes.esp);
  return tensor.elements() * sizes.tp / tensor.tp_copies;
}

std::int64_t stored_by(const Program& program) {
  std::int64_t sum = 0;
  for (const Chunk& chunk : program.chunks)
    for (const Tensor& tensor : chunk.tensors)
      if (tensor.role == TensorRole::kWeight && !tensor.tied) sum += whole(tensor, program.plan.sizes());
  return sum;
}

void expect_all_parameters(const ModelShape& model, const ParallelSizes& sizes, std::string_view pipeline, int copies) {
  Plan plan = with_pipeline(plan_of(sizes, 4 * sizes.pp), pipeline);
  plan.seq_length = 256;
  const Program program = lowered(plan, model);
  EXPECT_EQ(stored_by(program), copies * (count_parameters(model).stored() + padding(model, sizes.tp)))
      << model.name << " tp " << sizes.tp << " pp " << sizes.pp << " ep " << sizes.ep << " esp " << sizes.esp;
}

TEST(ProgramParameters, MoeModelsOnEveryKindOfMesh) {
  for (const char* name :
       {"mixtral-8x7b", "qwen3-30b-a3b", "olmoe-1b-7b", "gpt-oss-20b", "deepseek-v2-lite", "deepseek-v3", "phi-3.5-moe",
        "glm-4.5-air", "minimax-m2", "qwen1.5-moe-a2.7b", "llama4-scout", "dbrx", "qwen3-next-80b-a3b"}) {
    const ModelShape model = zoo(name);
    expect_all_parameters(model, {.dp = 4, .ep = 4}, "1f1b", 1);
    expect_all_parameters(model, {.tp = 2, .cp = 1, .pp = 2, .dp = 2, .ep = 4}, "1f1b", 1);
    expect_all_parameters(model, {.tp = 2, .cp = 2, .pp = 1, .dp = 2, .ep = 2, .esp = 2, .edp = 2}, "1f1b", 1);
    expect_all_parameters(model, {.pp = 2, .dp = 2, .ep = 2}, "dualpipe", 2);
  }
}

// 4 key/value heads on 8 ranks: each rank holds a head's keys and values in its 48 layers, and two hold the same ones.
TEST(ProgramParameters, FewKeyValueHeadsAreRepeatedOnTpRanks) {
  const ModelShape model = zoo("qwen3-30b-a3b");
  expect_all_parameters(model, {.tp = 8, .dp = 1, .ep = 8}, "1f1b", 1);
  Plan plan = plan_of({.tp = 8, .dp = 1, .ep = 8}, 4);
  plan.seq_length = 256;
  std::int64_t shared = 0;
  const Program program = lowered(plan, model);
  for (const Tensor& tensor : program.chunks[0].tensors)
    if (tensor.role == TensorRole::kWeight && tensor.tp_copies == 2) shared += tensor.elements();
  EXPECT_EQ(shared, 48LL * 2 * 128 * 2048);
}

TEST(ProgramParameters, DenseModelsAndTiedEmbeddings) {
  expect_all_parameters(zoo("llama3-8b"), {.tp = 4, .cp = 1, .pp = 2, .dp = 2, .edp = 8}, "1f1b", 1);
  expect_all_parameters(zoo("llama3-8b"), {.tp = 2, .cp = 2, .pp = 2, .dp = 1, .edp = 4}, "zbv", 1);
  ModelShape tied = small_dense();
  tied.tied_embeddings = true;
  expect_all_parameters(tied, {.tp = 2, .dp = 2, .edp = 4}, "1f1b", 1);
  tied.norm_bias = true;
  tied.learned_positions = 512;
  tied.lm_head_bias = true;
  expect_all_parameters(tied, {.tp = 2, .dp = 2, .edp = 4}, "1f1b", 1);
}

TEST(ProgramParameters, AnyNumberOfNorms) {
  for (int norms = 0; norms <= 4; ++norms) {
    ModelShape model = small_moe();
    for (LayerShape& kind : model.kinds) kind.norms = norms;
    expect_all_parameters(model, {.tp = 2, .pp = 2, .dp = 2, .ep = 2, .esp = 2}, "1f1b", 1);
    model.norm_bias = true;
    expect_all_parameters(model, {.dp = 4, .ep = 4}, "1f1b", 1);
  }
}

TEST(ProgramParameters, EveryLayerStandsOnOneStage) {
  Plan plan = plan_of({.pp = 4, .dp = 1}, 8);
  plan.stage_layers = {1, 2, 2, 3};
  const Program program = lowered(plan, small_moe());
  ASSERT_EQ(program.chunks.size(), 4U);
  int next = 0;
  for (const Chunk& chunk : program.chunks) {
    EXPECT_EQ(chunk.first_layer, next);
    next = chunk.last_layer;
    EXPECT_EQ(chunk.has_embedding, chunk.index == 0);
    EXPECT_EQ(chunk.has_head, chunk.index == 3);
  }
  EXPECT_EQ(next, 8);
}

}  // namespace
}  // namespace moesim
