// A training step under a plan, lowered once; the simulator, the memory walk and the executor all read this object.
//
// The model is cut into *chunks* (virtual pipeline stages). A chunk owns its tensors and a few *blocks*, straight lists of
// operations: one forward pass, one backward pass, and so on for one micro-batch. A stage's program is a list of *calls*
// of blocks with a micro-batch. All ranks of a stage run the same calls (SPMD by role); what differs between them, the
// token copies that the gate sends them, stands in RoutedLoads.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "models/cost/work.hpp"
#include "models/shape/model_shape.hpp"
#include "sim/plan/layout.hpp"
#include "sim/plan/plan.hpp"
#include "sim/program/copy_division.hpp"
#include "sim/program/op.hpp"
#include "sim/program/routed_loads.hpp"
#include "sim/program/tensor.hpp"

namespace moesim {

enum class BlockKind : std::uint8_t {
  kForward,
  kForwardFirst,  // of the first micro-batch: waits for the parameters that ZeRO gathers
  kBackward,      // input and weight gradients
  kBackwardLast,  // of the last micro-batch: starts the gradient reductions
  kBackwardInput,
  kBackwardWeight,
  kBackwardWeightLast,
  kPair,      // forward of one chunk interleaved with the backward of another (DualPipe)
  kPrologue,  // per stage, before the first micro-batch
  kEpilogue,  // per stage, after the last: the rest of the gradient sync, the optimizer
};
[[nodiscard]] std::string_view block_kind_name(BlockKind kind);

struct Block {
  BlockKind kind = BlockKind::kForward;
  std::int32_t chunk = -1;         // whose tensors the operands are
  std::int32_t second_chunk = -1;  // kPair: whose tensors the second half's operands are
  std::vector<Op> ops;
};

struct Chunk {
  std::int32_t index = 0;  // virtual stage, in model order
  StageId stage;
  int model_copy = 0;   // DualPipe holds two copies
  int first_layer = 0;  // layers [first_layer, last_layer)
  int last_layer = 0;
  bool has_embedding = false;
  bool has_head = false;
  std::vector<Tensor> tensors;
  std::vector<AttentionWork> attentions;
  // What neighbouring chunks exchange: by a transfer where they stand on different stages; on one stage the output of the
  // one is, without any operation, the input of the other. Invalid at the ends of the model.
  TensorId input;
  TensorId output;
  TensorId input_gradient;
  TensorId output_gradient;
};

struct Call {
  std::int32_t block = 0;         // index into Program::blocks
  std::int32_t micro_batch = -1;  // of the (forward half of the) block; -1 for prologue and epilogue
  std::int32_t second_micro_batch = -1;
};

struct StageProgram {
  std::vector<Call> calls;
};

// Weights whose gradients are reduced, or whose values are gathered, together; in the order of the chunk's tensors.
struct WeightBucket {
  std::int32_t chunk = -1;
  std::vector<TensorId> weights;
};

struct Program {
  Plan plan;
  ModelShape model;
  PrecisionRecipe recipe;
  std::shared_ptr<const Layout> layout;
  CopyDivision division = CopyDivision::kOwnTokens;  // of the MoE schedule
  std::shared_ptr<const RoutedLoads> loads;          // as that makes them
  std::vector<Chunk> chunks;
  std::vector<Block> blocks;
  std::vector<StageProgram> stages;
  std::vector<WeightBucket> buckets;  // what Op::bucket names

  // The chunk before (step -1) or after (+1) in the model; nullptr at the ends of a model copy.
  [[nodiscard]] const Chunk* neighbour(const Chunk& chunk, int step) const {
    const int other = chunk.index + step;
    if (other < 0 || other >= static_cast<int>(chunks.size())) return nullptr;
    const Chunk& found = chunks[static_cast<std::size_t>(other)];
    return found.model_copy == chunk.model_copy ? &found : nullptr;
  }
  // The same where it stands on the same stage, so that no transfer is needed; otherwise nullptr.
  [[nodiscard]] const Chunk* neighbour_on_stage(const Chunk& chunk, int step) const {
    const Chunk* found = neighbour(chunk, step);
    return found != nullptr && found->stage == chunk.stage ? found : nullptr;
  }
  [[nodiscard]] const Block& block_of(const Call& call) const { return blocks[static_cast<std::size_t>(call.block)]; }
  // An operation by its place: call of the stage, op of the call's block.
  [[nodiscard]] const Op& op_at(StageId stage, std::size_t call, std::size_t op) const {
    return block_of(stages[stage.index()].calls[call]).ops[op];
  }
  [[nodiscard]] const Chunk& chunk_of(const Block& block, const Op& op) const {
    return chunks[static_cast<std::size_t>(op.second_half != 0 ? block.second_chunk : block.chunk)];
  }
};

}  // namespace moesim
