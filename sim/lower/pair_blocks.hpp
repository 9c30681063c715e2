// Putting blocks together: one after the other, or a forward and a backward pass interleaved so that the communication of
// one hides behind the computation of the other (DeepSeek-V3 report, arXiv 2412.19437, section 3.2.1).
#pragma once

#include <vector>

#include "sim/program/program.hpp"

namespace moesim {

// Appends `more` to `ops`, keeping the dependencies inside `more`.
void append_ops(std::vector<Op>& ops, const std::vector<Op>& more);

// A kPair block: operations of `forward` and, marked second_half, of `backward`. The turn passes to the other half after
// each expert communication, which is then in flight while the other half computes.
[[nodiscard]] Block pair_blocks(const Block& forward, const Block& backward);

}  // namespace moesim
