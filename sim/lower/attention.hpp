// Lowers the attention half of a layer: norms, projections, positions, attention core, output projection, residual.
// Heads are cut over TP; under context parallelism keys and values are gathered over CP and the queries stay where they
// are (the all-gather variant of Llama 3, section 3.3.2; zig-zag order balances the causal mask).
#pragma once

#include "sim/program/chunk_builder.hpp"

namespace moesim {

[[nodiscard]] TensorId lower_attention(ChunkBuilder& builder, TensorId x, const LayerShape& layer);

}  // namespace moesim
