#include "sim/lower/pair_blocks.hpp"

#include <array>

namespace moesim {
namespace {

bool passes_the_turn(const Op& op) { return op.stream == Stream::kEp; }

}  // namespace

void append_ops(std::vector<Op>& ops, const std::vector<Op>& more) {
  const auto offset = static_cast<std::int32_t>(ops.size());
  for (Op op : more) {
    if (op.after >= 0) op.after += offset;
    ops.push_back(op);
  }
}

Block pair_blocks(const Block& forward, const Block& backward) {
  Block block;
  block.kind = BlockKind::kPair;
  block.chunk = forward.chunk;
  block.second_chunk = backward.chunk;
  const std::array<const std::vector<Op>*, 2> halves = {&forward.ops, &backward.ops};
  std::array<std::size_t, 2> next = {0, 0};
  std::array<std::vector<std::int32_t>, 2> moved_to;
  std::size_t half = 0;
  while (next[0] < halves[0]->size() || next[1] < halves[1]->size()) {
    if (next[half] == halves[half]->size()) half = 1 - half;
    Op op = (*halves[half])[next[half]++];
    if (op.after >= 0) op.after = moved_to[half][static_cast<std::size_t>(op.after)];
    op.second_half = static_cast<std::int8_t>(half);
    moved_to[half].push_back(static_cast<std::int32_t>(block.ops.size()));
    block.ops.push_back(op);
    if (passes_the_turn(op)) half = 1 - half;
  }
  return block;
}

}  // namespace moesim
