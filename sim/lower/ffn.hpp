// Lowers feed-forward blocks: the dense FFN of a layer and the shared expert of a MoE layer, both cut over TP.
#pragma once

#include "sim/program/chunk_builder.hpp"

namespace moesim {

// x (normed) -> FFN(x), no residual. `prefix` picks the operation names ("ffn" or "shared").
enum class FfnPlace { kDense, kShared };
[[nodiscard]] TensorId lower_ffn(ChunkBuilder& builder, TensorId x, const FfnShape& shape, FfnPlace place);

}  // namespace moesim
