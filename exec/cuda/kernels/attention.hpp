// Causal attention with grouped queries and its gradient (layer_args.hpp), in tiles of 64 queries by 64 keys with the softmax
// worked out as the keys go by (FlashAttention-2, arXiv 2307.08691). Products are FP32 multiply-adds, no tensor cores.
//
// Tiles that the causal order, the window or another sequence hides are skipped, by the extremes of the tiles' places.
#pragma once

#include "exec/cuda/kernels/operand.hpp"

namespace moesim::gpu {

constexpr std::int64_t kAttentionTile = 64;
constexpr std::int64_t kMostHeadColumns = 256;  // of a query or key head, and of a value head
constexpr std::int64_t kMostHeads = 65535;      // of the grid's second direction

// Positions and sequences, device memory.
struct Places {
  const std::int32_t* positions = nullptr;
  const std::int32_t* sequences = nullptr;
  std::int64_t count = 0;
};

// Extremes of a tile's places.
struct TileSpan {
  std::int32_t first_position, last_position, first_sequence, last_sequence;
};

struct Attention {
  std::int64_t heads = 1, kv_heads = 1;
  std::int64_t head_dim = 0, value_head_dim = 0;
  std::int64_t window = 0;  // 0: the whole sequence
  float scale = 1.0F;       // 1 / sqrt(head_dim)
  Places queries, keys;
  // Scratch, one for each tile; find_spans fills them.
  TileSpan *query_spans = nullptr, *key_spans = nullptr;
};

void find_spans(Stream stream, const Attention& shape);
// `o` and `lse` (FP32 [queries, heads]) may be absent.
void attention(Stream stream, const Attention& shape, const Operand& q, const Operand& k, const Operand& v,
               const Operand& o, const Operand& lse);

// `along`: FP32 [queries, heads] of scratch. No two blocks write one number, so results repeat bit by bit.
struct AttentionGradients {
  Operand go, q, k, v, o, lse, along;
  Operand gq, gk, gv;
};
void attention_grad(Stream stream, const Attention& shape, const AttentionGradients& operands);

}  // namespace moesim::gpu
