// For each operation of a block, the earlier ones of the block that must have ended before it starts: for each of its inputs
// the last one of the same half that made it, and `after`; each once, in this order. What no operation of the block makes comes
// from an earlier pass, and streams and wait_streams see to its order.
// Example: a: -> X, b: X -> Y, c: X, Y -> Z after a. b waits for a, c for a and b.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/program/op.hpp"

namespace moesim {

struct BlockDependencies {
  std::vector<std::uint32_t> first;  // into deps, by operation, and the end
  std::vector<std::uint32_t> deps;
  [[nodiscard]] std::span<const std::uint32_t> of(std::size_t op) const {
    return std::span(deps).subspan(first[op], first[op + 1] - first[op]);
  }
};
[[nodiscard]] BlockDependencies block_dependencies(std::span<const Op> ops);

}  // namespace moesim
