// One chunk (virtual pipeline stage) as operations: forward as written, backward as derived.
#pragma once

#include <vector>

#include "sim/program/adjoint.hpp"
#include "sim/program/program.hpp"

namespace moesim {

struct ChunkOps {
  std::vector<Op> forward;
  BackwardOps backward;
};

// Fills chunk's tensors, attentions and what it exchanges with its neighbours; its layers, embedding and head say what
// to lower. The plan must have passed check_plan().
[[nodiscard]] Result<ChunkOps> lower_chunk(const Plan& plan, const ModelShape& model, const Layout& layout,
                                           const PrecisionRecipe& recipe, WeightGradients weights, Chunk& chunk);

// The same of the MoE block of chunk.first_layer alone, from its normed input to its output: no attention, norm or residual.
[[nodiscard]] Result<ChunkOps> lower_moe_block(const Plan& plan, const ModelShape& model, const Layout& layout,
                                               const PrecisionRecipe& recipe, Chunk& chunk);

}  // namespace moesim
