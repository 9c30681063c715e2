// Arrived copies that were cut in one way and are to be cut in another (OpKind::kRecut): which runs of rows of which piece go where.
//
// Every piece has its rows by blocks, the copies of one source for one expert, and all have the blocks in one order. Of a block the
// pieces have one part behind the other, in either cut, so the counts say it all.
//
// Example: blocks of 4 and of 2 copies, cut in two and in four: rows by piece and block (2, 1 | 2, 1) and (1, 0 | 1, 1 | 1, 0 | 1, 1).
// Row 0 of piece 0 is all of the first of the four; rows 1 and 2 of it, one of each block, are the second.
#pragma once

#include <cstdint>
#include <vector>

#include "exec/compute/routing_args.hpp"

namespace moesim {

using RowsByPiece = std::vector<std::vector<std::int64_t>>;  // [piece][block]

struct RunsBetweenPieces {
  int from = 0, to = 0;  // pieces of the two cuts
  std::vector<RowRun> runs;
};

// Pairs of pieces that have rows in common, each once.
[[nodiscard]] std::vector<RunsBetweenPieces> recut_rows(const RowsByPiece& from, const RowsByPiece& to);

}  // namespace moesim
