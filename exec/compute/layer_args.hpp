// Operands of the kernels that make up a transformer layer, one struct per kernel. Letters as in sim/program/op.hpp: x and y
// are activations [rows, columns], w a weight, a leading g the gradient of what follows.
//
// Outputs are overwritten, except gradients of weights (gw, gtable, ..._norm), which are FP32 and are added to, so that
// micro-batches accumulate. An output may not overlap an input unless its kernel says so. An absent optional output is
// not computed.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "exec/compute/matrix_view.hpp"

namespace moesim {

// y = x w with w [in, out];  gx = gy w^T;  gw += x^T gy.
struct GemmArgs {
  MatrixView x, w, y;
};
struct GemmDgradArgs {
  MatrixView gy, w, gx;
};
// The first gradient of a step is written; those of other micro-batches are added. Clearing all of it first would take as long
// as to write it once more.
enum class GradientSum : std::uint8_t { kAdd, kSet };
struct GemmWgradArgs {
  MatrixView x, gy, gw;
  GradientSum sum = GradientSum::kAdd;
};

// The same for each local expert: expert e owns the next group_rows[e] rows of x and y (perhaps none) and rows
// [e * in, (e + 1) * in) of w. The counts stand in host memory; they add up to the rows of x.
struct GroupedGemmArgs {
  MatrixView x, w, y;
  std::span<const std::int64_t> group_rows;
};
struct GroupedGemmDgradArgs {
  MatrixView gy, w, gx;
  std::span<const std::int64_t> group_rows;
};
struct GroupedGemmWgradArgs {
  MatrixView x, gy, gw;
  std::span<const std::int64_t> group_rows;
  GradientSum sum = GradientSum::kAdd;  // kSet: to zero for experts without rows
};

// RMSNorm (arXiv 1910.07467): y = x * w / sqrt(mean(x^2) + epsilon) over the first weight.columns columns; the columns after
// those pass through. Row (3, 4), w = (1, 2), epsilon 0: mean square 12.5, y = (0.8485, 2.2627).
struct NormArgs {
  MatrixView x, weight, y;  // weight [1, n], n <= columns of x
  float epsilon = 1e-5F;
};
struct NormGradArgs {
  MatrixView gy, x, weight, gx;
  std::optional<MatrixView> gw;
  float epsilon = 1e-5F;
};

// Rotary positions (RoFormer, arXiv 2104.09864), the halves convention of Llama: with d = rotary_dim, columns i and i + d / 2
// of a head turn by position * theta^(-2 i / d), for i < d / 2. Columns of a head from d on, and all columns after the
// q and k heads (values), pass through. Column order: q heads | k heads | rest; either number of heads may be 0.
struct RotaryShape {
  std::int64_t q_heads = 0;
  std::int64_t k_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t rotary_dim = 0;  // even, at most head_dim
  double theta = 10000.0;
  float norm_epsilon = 1e-5F;
};
// Norms come before the rotation. A norm weight of head_dim columns normalises every head by itself (Qwen3); one of
// heads * head_dim columns normalises the heads of this matrix together (OLMoE), which with heads cut over ranks is not
// the norm over all heads of the model.
struct RotaryArgs {
  RotaryShape shape;
  IndexView positions;  // one per row
  MatrixView x;
  std::optional<MatrixView> q_norm, k_norm;
  MatrixView y;
};
struct RotaryGradArgs {
  RotaryShape shape;
  IndexView positions;
  MatrixView gy;
  std::optional<MatrixView> x;  // what the norms read; needed with norms only
  std::optional<MatrixView> q_norm, k_norm;
  MatrixView gx;
  std::optional<MatrixView> gq_norm, gk_norm;
};

// Causal attention with grouped queries: query head h reads key and value head h * kv_heads / heads, the scale is
// 1 / sqrt(head_dim). A query sees a key of its own sequence whose position is at most its own and, with a window, less than
// `window` before it. Positions are explicit, so that rows may be any slice of a sequence in any order. A query that
// sees no key gets zeros.
struct AttentionHeads {
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t value_head_dim = 0;
  std::int64_t window = 0;  // 0: the whole sequence
};
struct TokenPlaces {
  IndexView positions;  // in its sequence
  IndexView sequences;  // which sequence of the micro-batch
};
struct AttentionArgs {
  AttentionHeads shape;
  TokenPlaces queries, keys;
  MatrixView q, k, v;  // [queries, heads * head_dim], [keys, kv_heads * head_dim], [keys, kv_heads * value_head_dim]
  MatrixView o;        // [queries, heads * value_head_dim]
  std::optional<MatrixView> lse;  // FP32 [queries, heads]: logarithm of the sum of exponentials, for the gradient
};
struct AttentionGradArgs {
  AttentionHeads shape;
  TokenPlaces queries, keys;
  MatrixView go, q, k, v;
  MatrixView o;  // for backends that see the keys in pieces, and so need sum(go * o) of a row beforehand
  std::optional<MatrixView> lse;  // as the forward pass left it; computed again without
  MatrixView gq, gk, gv;
};
// The three parts of fused columns [q heads | k heads | v heads], or the last two of [k heads | v heads].
struct QkvViews {
  MatrixView q, k, v;
};
[[nodiscard]] inline QkvViews split_qkv(const MatrixView& qkv, const AttentionHeads& shape) {
  const std::int64_t q = shape.heads * shape.head_dim;
  const std::int64_t k = shape.kv_heads * shape.head_dim;
  return {column_range(qkv, 0, q), column_range(qkv, q, k),
          column_range(qkv, q + k, shape.kv_heads * shape.value_head_dim)};
}
struct KvViews {
  MatrixView k, v;
};
[[nodiscard]] inline KvViews split_kv(const MatrixView& kv, const AttentionHeads& shape) {
  const std::int64_t k = shape.kv_heads * shape.head_dim;
  return {column_range(kv, 0, k), column_range(kv, k, shape.kv_heads * shape.value_head_dim)};
}

// SwiGLU (arXiv 2002.05202): x = [gate | up] halves, y = silu(gate) * up, half the columns of x. Ungated: y = f(x) with
// silu(x) = x / (1 + e^-x) or gelu(x) = x / 2 * (1 + erf(x / sqrt(2))). With row weights (FP32 [rows, 1]), row r of y is
// multiplied by weight r.
enum class ActivationKind : std::uint8_t { kSwiGlu, kSilu, kGelu };
struct ActivationArgs {
  ActivationKind kind = ActivationKind::kSwiGlu;
  MatrixView x;
  std::optional<MatrixView> row_weights;
  MatrixView y;
};
struct ActivationGradArgs {
  ActivationKind kind = ActivationKind::kSwiGlu;
  MatrixView gy, x;
  std::optional<MatrixView> row_weights;
  MatrixView gx;
  std::optional<MatrixView> g_row_weights;
};

// Rows of a table picked by token id. The table holds ids [first_row, first_row + rows); another id gives a row of zeros,
// so that the sum over the shards of a vocabulary is the embedding.
struct EmbeddingArgs {
  IndexView tokens;
  std::int64_t first_row = 0;
  MatrixView table, y;
};
struct EmbeddingGradArgs {
  IndexView tokens;
  std::int64_t first_row = 0;
  MatrixView gy, gtable;
};

// Cross entropy over a shard of the vocabulary: columns stand for ids [first_column, first_column + valid_columns), columns
// after those are padding. statistics, FP32 [rows, 3]: largest logit, sum of exp(logit - largest), logit of the label (0 where
// another shard holds it). Loss of a row: largest + log(sum) - logit of the label. Logits (0, 0), label 0: (0, 2, 0),
// loss log 2. A negative label takes its row out of loss and gradient.
struct CrossEntropyArgs {
  MatrixView logits;
  IndexView labels;
  std::int64_t first_column = 0;
  std::int64_t valid_columns = 0;
  MatrixView statistics;
};
// combined: the statistics of the whole vocabulary from those of its shards.
struct CombineLossArgs {
  std::span<const MatrixView> parts;
  MatrixView combined;
};
// *sum += the losses of all rows. `sum` is device memory.
struct LossSumArgs {
  MatrixView statistics;
  IndexView labels;
  double* sum = nullptr;
};
// glogits = scale * (softmax - one at the label), zero in padding. May overwrite the logits.
struct CrossEntropyGradArgs {
  MatrixView logits;
  IndexView labels;
  std::int64_t first_column = 0;
  std::int64_t valid_columns = 0;
  MatrixView statistics;  // combined
  float scale = 1.0F;     // 1 / tokens of the whole batch, for a mean
  MatrixView glogits;
};

// y = a + b; y may be a or b.
struct AddArgs {
  MatrixView a, b, y;
};
// y = x in the type of y.
struct CastArgs {
  MatrixView x, y;
};
// y: FP8 (E4M3) with an FP32 scale for each row and 128 columns, [rows, scales_of_row(columns)] (DeepSeek-V3, arXiv 2412.19437, 3.3.2):
// scale = max |x| / 448, y = x / scale to the nearest, ties to even. Where that scale would be below the smallest normal number, as
// of zeros, it is 1. Columns (1, -2, 0.3): scale 2 / 448, codes of 224, -448 and 67.2 -> 64, and back 1, -2, 0.2857.
struct ToFp8Args {
  MatrixView x, y, scales;
};
// y = x * scale.
struct FromFp8Args {
  MatrixView x, scales, y;
};
// x = factor * x.
struct ScaleArgs {
  MatrixView x;
  float factor = 1.0F;
};
// *sum += the squares of x. `sum` is device memory.
struct SquareSumArgs {
  MatrixView x;
  double* sum = nullptr;
};

// AdamW (arXiv 1711.05101): with g = gradient_scale * gradient and t = step (from 1),
//   m = b1 m + (1 - b1) g,  v = b2 v + (1 - b2) g^2,
//   master -= rate * (m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + epsilon) + weight_decay * master),  parameter = master.
// First step, g = 2, everything else 0 but master 1: m / (1 - b1) = 2, v / (1 - b2) = 4, so master falls by the rate.
struct AdamWSettings {
  float rate = 1e-3F;
  float beta1 = 0.9F;
  float beta2 = 0.95F;
  float epsilon = 1e-8F;
  float weight_decay = 0.0F;
};
struct AdamWArgs {
  AdamWSettings settings;
  std::int64_t step = 1;
  float gradient_scale = 1.0F;                               // of clipping, and of averaging over ranks
  MatrixView gradient, master, first_moment, second_moment;  // FP32
  MatrixView parameter;                                      // may be the master itself
};

}  // namespace moesim
