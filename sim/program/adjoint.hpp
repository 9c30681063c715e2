// Derives the backward pass of a chunk from its tape.
//
// The tape is walked backwards; each operation contributes its adjoint. Forward results that an adjoint reads are either
// *kept* from the forward pass or made again from kept ones (recomputation); which, is the plan's policy:
//   none       everything is kept, except what all-gathers over TP and CP give: Megatron-LM gathers the inputs of a
//              tensor-parallel region again, Transformer Engine the keys and values of the other CP ranks
//   selective  results of norms, activations, casts, permutations and the attention core are made again
//   full       only layer inputs are kept, and the last layer's output where the head follows
// Results that are made again carry Phase::kRecompute and cost what the forward operation costs.
//
// A layer whose backward pass has another number of pieces is walked as its pattern says (ChunkBuilder::Pattern).
#pragma once

#include <vector>

#include "sim/program/chunk_builder.hpp"

namespace moesim {

struct BackwardOps {
  std::vector<Op> input;    // recomputation and input gradients; with inline weights, weight gradients as well
  std::vector<Op> weight;   // weight gradients, when asked for apart
  TensorId input_gradient;  // gradient of the chunk's input; invalid when the chunk starts with the embedding
};

enum class WeightGradients { kInline, kApart };

// `output_gradient` is the gradient of the chunk's output, invalid when the chunk ends in the loss.
[[nodiscard]] BackwardOps derive_backward(ChunkBuilder& builder, Chunk& chunk, TensorId input, TensorId output,
                                          TensorId output_gradient, WeightGradients weights);

}  // namespace moesim
