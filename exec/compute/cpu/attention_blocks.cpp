#include "exec/compute/cpu/attention_blocks.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "exec/compute/cpu/blas.hpp"
#include "exec/compute/cpu/row_math.hpp"

namespace moesim {
namespace {

constexpr float kHidden = -std::numeric_limits<float>::infinity();

}  // namespace

std::vector<TokenBlock> cut_into_blocks(const TokenPlaces& places, std::int64_t block_rows) {
  std::vector<TokenBlock> blocks;
  for (std::int64_t first = 0; first < places.positions.count; first += block_rows) {
    const std::int64_t rows = std::min(block_rows, places.positions.count - first);
    const std::int32_t* positions = places.positions.data + first;
    const std::int32_t* sequences = places.sequences.data + first;
    const auto [low, high] = std::minmax_element(positions, positions + rows);
    const auto [from, to] = std::minmax_element(sequences, sequences + rows);
    blocks.push_back({first, rows, *low, *high, *from, *to});
  }
  return blocks;
}

BlockScores::BlockScores(const AttentionHeads& shape, const TokenPlaces& queries, const TokenPlaces& keys)
    : shape_(shape),
      queries_(queries),
      keys_(keys),
      query_blocks_(cut_into_blocks(queries, kQueryBlock)),
      key_blocks_(cut_into_blocks(keys, kKeyBlock)) {}

bool BlockScores::any_visible(const TokenBlock& q, const TokenBlock& k) const {
  if (k.first_sequence > q.last_sequence || k.last_sequence < q.first_sequence) return false;
  if (k.first_position > q.last_position) return false;
  return shape_.window == 0 || q.first_position - k.last_position < shape_.window;
}

bool BlockScores::all_visible(const TokenBlock& q, const TokenBlock& k) const {
  const bool one_sequence = q.first_sequence == q.last_sequence && k.first_sequence == k.last_sequence &&
                            q.first_sequence == k.first_sequence;
  if (!one_sequence || k.last_position > q.first_position) return false;
  return shape_.window == 0 || q.last_position - k.first_position < shape_.window;
}

void BlockScores::choose(const TokenBlock& queries) {
  chosen_ = queries;
  visible_.clear();
  columns_ = 0;
  for (const TokenBlock& keys : key_blocks_) {
    if (!any_visible(queries, keys)) continue;
    visible_.push_back({&keys, columns_});
    columns_ += keys.rows;
  }
}

void BlockScores::compute(const float* q, std::int64_t q_stride, const float* k, std::int64_t k_stride,
                          float* scores) const {
  const float scale = 1.0F / std::sqrt(static_cast<float>(shape_.head_dim));
  for (const VisibleBlock& block : visible_) {
    sgemm({.m = chosen_.rows,
           .n = block.keys->rows,
           .k = shape_.head_dim,
           .alpha = scale,
           .a = q,
           .a_stride = q_stride,
           .b = k + block.keys->first * k_stride,
           .b_stride = k_stride,
           .b_transposed = Transpose::kYes,
           .c = scores + block.column,
           .c_stride = columns_});
    if (!all_visible(chosen_, *block.keys)) mask(block, scores + block.column);
  }
}

void BlockScores::mask(const VisibleBlock& block, float* scores) const {
  const std::int64_t back = shape_.window > 0 ? shape_.window : std::numeric_limits<std::int64_t>::max();
  for (std::int64_t i = 0; i < chosen_.rows; ++i) {
    const std::int64_t position = queries_.positions.data[chosen_.first + i];
    const std::int32_t sequence = queries_.sequences.data[chosen_.first + i];
    float* row = scores + i * columns_;
    for (std::int64_t j = 0; j < block.keys->rows; ++j) {
      const std::int64_t distance = position - keys_.positions.data[block.keys->first + j];
      const bool seen = keys_.sequences.data[block.keys->first + j] == sequence && distance >= 0 && distance < back;
      if (!seen) row[j] = kHidden;
    }
  }
}

void to_probabilities(float* scores, std::int64_t count, float lse) {
  if (lse == kHidden) {
    std::fill_n(scores, count, 0.0F);
    return;
  }
  exp_row(scores, count, lse, scores);
}

}  // namespace moesim
