// What both passes of attention share: the rows cut into blocks, which pairs of blocks see each other, and the scores of one
// block of queries against all keys that any of them sees.
//
// Scores of a block stand side by side for the visible key blocks only, so that work is skipped for those that the causal
// order, the window or another sequence hides, wherever the slices of context parallelism put them.
#pragma once

#include <cstdint>
#include <vector>

#include "base/error.hpp"
#include "exec/compute/layer_args.hpp"

namespace moesim {

constexpr std::int64_t kQueryBlock = 64;
constexpr std::int64_t kKeyBlock = 128;

// Rows [first, first + rows) and the extremes of their places.
struct TokenBlock {
  std::int64_t first = 0;
  std::int64_t rows = 0;
  std::int32_t first_position = 0, last_position = 0;
  std::int32_t first_sequence = 0, last_sequence = 0;
};
[[nodiscard]] std::vector<TokenBlock> cut_into_blocks(const TokenPlaces& places, std::int64_t block_rows);

// One visible key block of a query block: its scores start at this column.
struct VisibleBlock {
  const TokenBlock* keys = nullptr;
  std::int64_t column = 0;
};

class BlockScores {
 public:
  BlockScores(const AttentionHeads& shape, const TokenPlaces& queries, const TokenPlaces& keys);

  [[nodiscard]] const std::vector<TokenBlock>& query_blocks() const { return query_blocks_; }
  // Chooses the query block whose scores are wanted.
  void choose(const TokenBlock& queries);
  [[nodiscard]] const std::vector<VisibleBlock>& visible() const { return visible_; }
  [[nodiscard]] std::int64_t columns() const { return columns_; }
  // Room for columns() numbers per query at most.
  [[nodiscard]] std::int64_t most_columns() const { return keys_.positions.count; }

  // scores[i, visible column] = q k / sqrt(head_dim), and -infinity where the query does not see the key. q starts at the
  // block's first row, k at the matrix's.
  void compute(const float* q, std::int64_t q_stride, const float* k, std::int64_t k_stride, float* scores) const;

 private:
  [[nodiscard]] bool any_visible(const TokenBlock& q, const TokenBlock& k) const;
  [[nodiscard]] bool all_visible(const TokenBlock& q, const TokenBlock& k) const;
  void mask(const VisibleBlock& block, float* scores) const;

  AttentionHeads shape_;
  TokenPlaces queries_, keys_;
  std::vector<TokenBlock> query_blocks_, key_blocks_;
  TokenBlock chosen_;
  std::vector<VisibleBlock> visible_;
  std::int64_t columns_ = 0;
};

// Scores of a row become exp(scores - lse); zeros where lse is -infinity, which is a row without a visible key.
void to_probabilities(float* scores, std::int64_t count, float lse);

}  // namespace moesim
