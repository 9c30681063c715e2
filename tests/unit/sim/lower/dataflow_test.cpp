// Every operand of every program exists when it is read: made earlier in the block, carried from an earlier pass of the
// same micro-batch, received, or handed over by the neighbouring chunk on the same stage.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <optional>
#include <set>

#include "tests/unit/sim/program/program_testing.hpp"

namespace moesim {
namespace {

using Made = std::set<TensorId>;

struct ChunkPasses {
  Made forward;         // made by the forward pass
  Made input_gradient;  // by the pass of input gradients
};

Made outputs_of(const Block& block) {
  Made made;
  for (const Op& op : block.ops) made.insert(op.outputs.begin(), op.outputs.end());
  return made;
}

std::vector<ChunkPasses> passes_of(const Program& program) {
  std::vector<ChunkPasses> passes(program.chunks.size());
  for (const Block& block : program.blocks) {
    ChunkPasses& own = passes[static_cast<std::size_t>(block.chunk)];
    if (block.kind == BlockKind::kForward) own.forward = outputs_of(block);
    if (block.kind == BlockKind::kBackward || block.kind == BlockKind::kBackwardInput)
      own.input_gradient.merge(outputs_of(block));
  }
  return passes;
}

bool neighbours_meet(const Program& program, const Chunk& chunk, int step) {
  const int other = chunk.index + step;
  if (other < 0 || other >= static_cast<int>(program.chunks.size())) return false;
  const Chunk& peer = program.chunks[static_cast<std::size_t>(other)];
  return peer.model_copy == chunk.model_copy && peer.stage == chunk.stage;
}

bool is_weight_pass(BlockKind kind) {
  return kind == BlockKind::kBackwardWeight || kind == BlockKind::kBackwardWeightLast;
}

class Walk {
 public:
  Walk(const Program& program, const std::vector<ChunkPasses>& passes, const Block& block)
      : program_(program), passes_(passes), block_(block) {}

  std::optional<std::string> fault() {
    for (std::size_t i = 0; i < block_.ops.size(); ++i) {
      const Op& op = block_.ops[i];
      if (op.after >= static_cast<std::int32_t>(i))
        return fmt::format("op {} ({}) comes after a later one", i, op.name);
      if (op.after >= 0 && block_.ops[static_cast<std::size_t>(op.after)].second_half != op.second_half)
        return fmt::format("op {} ({}) waits for the other half", i, op.name);
      for (const TensorId id : op.inputs)
        if (!available(op, id))
          return fmt::format("{} block, op {} {} ({}): nothing has made operand '{}'", block_kind_name(block_.kind), i,
                             op_kind_name(op.kind), op.name, program_.chunk_of(block_, op).tensors[id.index()].name);
      Made& made = made_[static_cast<std::size_t>(op.second_half)];
      for (const TensorId id : op.outputs)
        if (!made.insert(id).second)
          return fmt::format("{} block, op {} ({}): a tensor is made twice", block_kind_name(block_.kind), i, op.name);
    }
    return {};
  }

 private:
  bool available(const Op& op, TensorId id) const {
    const Chunk& chunk = program_.chunk_of(block_, op);
    if (chunk.tensors[id.index()].role == TensorRole::kWeight) return true;
    if (made_[static_cast<std::size_t>(op.second_half)].contains(id)) return true;
    const bool forward =
        op.second_half == 0 && (block_.kind == BlockKind::kForward || block_.kind == BlockKind::kForwardFirst ||
                                block_.kind == BlockKind::kPair);
    const ChunkPasses& passes = passes_[static_cast<std::size_t>(chunk.index)];
    if (id == chunk.input && neighbours_meet(program_, chunk, -1)) return true;
    if (forward) return false;
    if (id == chunk.output_gradient && neighbours_meet(program_, chunk, +1)) return true;
    return passes.forward.contains(id) || (is_weight_pass(block_.kind) && passes.input_gradient.contains(id));
  }

  const Program& program_;
  const std::vector<ChunkPasses>& passes_;
  const Block& block_;
  Made made_[2];
};

// Work that nothing reads is work that no launcher would do.
std::optional<std::string> unread(const Program& program) {
  for (const Chunk& chunk : program.chunks) {
    Made read;
    for (const Block& block : program.blocks)
      if (block.kind != BlockKind::kPair && block.chunk == chunk.index)
        for (const Op& op : block.ops) read.insert(op.inputs.begin(), op.inputs.end());
    for (const Block& block : program.blocks) {
      if (block.kind == BlockKind::kPair || block.chunk != chunk.index) continue;
      for (const Op& op : block.ops) {
        bool used = op.outputs.size() == 0;
        for (const TensorId id : op.outputs)
          used = used || read.contains(id) || id == chunk.output || id == chunk.input_gradient ||
                 chunk.tensors[id.index()].role == TensorRole::kWeightGradient;
        if (!used) return fmt::format("nothing reads what {} ({}) makes", op_kind_name(op.kind), op.name);
      }
    }
  }
  return {};
}

void expect_sound(const Program& program, const std::string& what) {
  const auto passes = passes_of(program);
  for (const Block& block : program.blocks) {
    const auto fault = Walk(program, passes, block).fault();
    ASSERT_FALSE(fault.has_value()) << what << ": " << *fault;
  }
  const auto idle = unread(program);
  EXPECT_FALSE(idle.has_value()) << what << ": " << *idle;
}

void expect_sound_under_every_option(const ModelShape& model, const ParallelSizes& sizes, bool sequence_parallel) {
  for (const std::string_view pipeline : kPipelines)
    for (const Recompute recompute : {Recompute::kNone, Recompute::kSelective, Recompute::kFull})
      for (int zero = 0; zero <= 3; ++zero) {
        Plan plan = with_pipeline(plan_of(sizes, 4), pipeline);
        plan.sequence_parallel = sequence_parallel;
        plan.recompute = recompute;
        plan.zero_dense = static_cast<ZeroStage>(zero);
        plan.zero_expert = static_cast<ZeroStage>(3 - zero);
        plan.precision = zero % 2 == 0 ? "bf16" : "fp8";
        plan.overlap_grad_reduce = zero != 1;
        plan.overlap_param_gather = zero != 2;
        expect_sound(lowered(plan, model), fmt::format("{} {} recompute {} zero {} tp {} cp {}", model.name, pipeline,
                                                       recompute_name(recompute), zero, sizes.tp, sizes.cp));
      }
}

TEST(Dataflow, DenseModels) {
  for (const bool sequence_parallel : {false, true}) {
    expect_sound_under_every_option(small_dense(), {.tp = 2, .pp = 2, .dp = 2, .edp = 4}, sequence_parallel);
    expect_sound_under_every_option(small_dense(), {.tp = 2, .cp = 2, .pp = 2, .dp = 1, .edp = 4}, sequence_parallel);
  }
}

TEST(Dataflow, MoeModels) {
  expect_sound_under_every_option(small_moe(), {.pp = 2, .dp = 4, .ep = 4}, true);
  expect_sound_under_every_option(small_moe(), {.tp = 2, .pp = 2, .dp = 4, .ep = 2, .esp = 2, .edp = 2}, true);
  expect_sound_under_every_option(small_mla(), {.tp = 2, .cp = 2, .pp = 2, .dp = 1, .ep = 4}, true);
}

TEST(Dataflow, OneStageAndTiedEmbeddings) {
  ModelShape tied = small_dense();
  tied.tied_embeddings = true;
  for (const Recompute recompute : {Recompute::kNone, Recompute::kSelective, Recompute::kFull}) {
    Plan plan = plan_of({.tp = 2, .dp = 2, .edp = 4}, 2);
    plan.recompute = recompute;
    expect_sound(lowered(plan, tied), "tied");
  }
}

TEST(Dataflow, AnyNumberOfNorms) {
  for (int norms = 0; norms <= 4; ++norms) {
    ModelShape model = small_dense();
    model.kinds[0].norms = norms;
    for (const Recompute recompute : {Recompute::kNone, Recompute::kSelective, Recompute::kFull}) {
      Plan plan = with_pipeline(plan_of({.tp = 2, .pp = 2, .dp = 2, .edp = 4}, 4), "zb1p");
      plan.recompute = recompute;
      const Program program = lowered(plan, model);
      expect_sound(program, fmt::format("{} norms", norms));
      int lowered_norms = 0;
      for (const Block& block : program.blocks)
        if (block.kind == BlockKind::kForward)
          for (const Op& op : block.ops) lowered_norms += op.kind == OpKind::kNorm ? 1 : 0;
      EXPECT_EQ(lowered_norms, 8 * norms + 1);  // and the head's
    }
  }
}

TEST(Dataflow, ModelsOfTheZoo) {
  for (const char* name : {"gpt-oss-20b", "qwen3-next-80b-a3b", "deepseek-v2-lite", "phi-3.5-moe", "minimax-m2"}) {
    Plan plan = with_pipeline(plan_of({.tp = 2, .pp = 2, .dp = 2, .ep = 4}, 4), "zbv");
    plan.recompute = Recompute::kSelective;
    expect_sound(lowered(plan, zoo(name)), name);
  }
}

}  // namespace
}  // namespace moesim
