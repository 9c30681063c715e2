// Model FLOPs of training, the numerator of MFU: what the mathematics of a step needs, not what a layout executes.
//
// Convention, per token, forward + backward (the backward of a matrix product is two of its size):
//   3 * 2 * (weights of matrix products that the token passes: active parameters without input embedding, norms, biases)
//   + 3 * 2 * heads * (head_dim + value_head_dim) * (keys seen on average)     per layer with a score matrix.
// The output head counts (also where tied); recomputation, dropped or padded tokens and MTP modules do not. Attention is
// causal: a token of a sequence of s sees s/2 keys on average, w - w^2/(2s) of them under a sliding window w < s, and w/2
// in chunks of w (s = w gives s/2 in all three). Papers that count the full square have twice the attention term.
// A gated delta net reads, corrects and queries its key x value state: 3 * 2 * heads * head_dim * value_head_dim forward.
//
// Worked number: hidden 4, vocab 10, one layer, 2 heads of 2 (kv 2), dense two-matrix FFN of width 8, s = 6:
//   weights 4*16 + 2*4*8 + 40 = 168 -> 1008;  attention 6 * 2 * 4 * 3 = 144;  1152 FLOPs per token.
#pragma once

#include <cstdint>

#include "base/units.hpp"
#include "models/shape/model_shape.hpp"

namespace moesim {

// `seq_length` must be at least 1.
[[nodiscard]] Flops model_flops_per_token(const ModelShape& shape, std::int64_t seq_length);

// Keys that a token of this layer sees on average under the convention above; 0 for linear attention.
[[nodiscard]] double average_keys_seen(const AttentionShape& attention, std::int64_t seq_length);

}  // namespace moesim
