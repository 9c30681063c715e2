// The span and the busy time of a list of operations that runs alone (layer_table.hpp says what they mean).
#pragma once

#include <span>

#include "sim/program/program.hpp"

namespace moesim {

struct BlockSpan {
  double span = 0;
  double busy = 0;
  double exchange = 0;  // expert dispatch and combine: always between two computations
  // Compute time before the first operation that depends on `awaited` (0 when nothing is awaited).
  double head_start = 0;
};

// `seconds[i]` is the duration of ops[i].
[[nodiscard]] BlockSpan block_span(std::span<const Op> ops, std::span<const double> seconds, TensorId awaited);

}  // namespace moesim
