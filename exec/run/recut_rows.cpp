#include "exec/run/recut_rows.hpp"

#include <algorithm>
#include <map>
#include <utility>

#include "base/error.hpp"

namespace moesim {
namespace {

// The parts of one block after the other, and where their rows stand in their pieces.
class Parts {
 public:
  explicit Parts(const RowsByPiece& counts) : counts_(counts), next_(counts.size(), 0) {}
  void begin(std::size_t block) {
    block_ = block;
    piece_ = 0;
    left_ = counts_[0][block];
  }
  // The piece that has the next rows of the block.
  int piece() {
    while (left_ == 0) {
      MOESIM_ASSERT(piece_ + 1 < counts_.size());
      left_ = counts_[++piece_][block_];
    }
    return static_cast<int>(piece_);
  }
  [[nodiscard]] std::int64_t left() const { return left_; }  // of that piece
  [[nodiscard]] std::int64_t row() const { return next_[piece_]; }
  void take(std::int64_t rows) {
    left_ -= rows;
    next_[piece_] += rows;
  }

 private:
  const RowsByPiece& counts_;
  std::vector<std::int64_t> next_;  // row of each piece
  std::size_t block_ = 0, piece_ = 0;
  std::int64_t left_ = 0;
};

void append(std::vector<RowRun>& runs, const RowRun& more) {
  if (!runs.empty() && runs.back().from + runs.back().rows == more.from &&
      runs.back().to + runs.back().rows == more.to) {
    runs.back().rows += more.rows;
  } else {
    runs.push_back(more);
  }
}

}  // namespace

std::vector<RunsBetweenPieces> recut_rows(const RowsByPiece& from, const RowsByPiece& to) {
  std::map<std::pair<int, int>, std::vector<RowRun>> runs;
  Parts source(from);
  Parts target(to);
  for (std::size_t block = 0; block < from[0].size(); ++block) {
    std::int64_t rows = 0;
    for (const std::vector<std::int64_t>& piece : from) rows += piece[block];
    source.begin(block);
    target.begin(block);
    while (rows > 0) {
      const std::pair<int, int> pieces(source.piece(), target.piece());
      const std::int64_t taken = std::min(source.left(), target.left());
      append(runs[pieces], {source.row(), target.row(), taken});
      source.take(taken);
      target.take(taken);
      rows -= taken;
    }
  }
  std::vector<RunsBetweenPieces> result;
  for (auto& [pieces, between] : runs) result.push_back({pieces.first, pieces.second, std::move(between)});
  return result;
}

}  // namespace moesim
