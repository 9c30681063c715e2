// With P the probabilities of a head and D = rowsum(gO * O) (FlashAttention, arXiv 2205.14135, appendix B.2),
//   gV = P^T gO,   gP = gO V^T,   gS = P * (gP - D) / sqrt(d),   gQ = gS K,   gK = gS^T Q.
// One kernel goes through the keys of each tile of queries for gQ, another through the queries of each tile of keys for gK and gV:
// scores are worked out twice, and nothing is added by two blocks.
#include "exec/cuda/kernels/attention_tile.cuh"

namespace moesim::gpu {
namespace {

// along[query, head] = sum of gO * O over the head's columns, a warp to each.
__global__ void along_kernel(Attention s, Operand go, Operand o, Operand along) {
  for (std::int64_t item = first_item(); item < s.queries.count * s.heads; item += items_at_once()) {
    const std::int64_t row = item / s.heads;
    const std::int64_t head = item % s.heads;
    float sum = 0.0F;
    for (std::int64_t c = lane_of_warp(); c < s.value_head_dim; c += kWarpThreads) {
      const std::int64_t column = head * s.value_head_dim + c;
      sum += load_one(go, row, column) * load_one(o, row, column);
    }
    sum = warp_reduce(sum, Sum());
    if (lane_of_warp() == 0) fp32_at(along, row, head) = sum;
  }
}

// One pair of tiles of one head.
struct TilePair {
  std::int64_t first_query, first_key, head, kv_head;
};

__device__ TileRows query_rows(const Attention& s, const Operand& m, const TilePair& at) {
  return {m, at.first_query, at.head * s.head_dim, s.head_dim};
}
__device__ TileRows key_rows(const Attention& s, const Operand& m, const TilePair& at) {
  return {m, at.first_key, at.kv_head * s.head_dim, s.head_dim};
}
__device__ TileRows output_rows(const Attention& s, const Operand& m, const TilePair& at) {
  return {m, at.first_query, at.head * s.value_head_dim, s.value_head_dim};
}
__device__ TileRows value_rows(const Attention& s, const Operand& m, const TilePair& at) {
  return {m, at.first_key, at.kv_head * s.value_head_dim, s.value_head_dim};
}

// P of the pair: exp(score - lse), and 0 where the query does not see the key.
__device__ void probabilities_of(const Attention& s, const AttentionGradients& x, const TilePair& at,
                                 const ThreadPlaces& places, TileMemory& memory, TileValues& p) {
  multiply_rows(query_rows(s, x.q, at), key_rows(s, x.k, at), memory, p);
#pragma unroll
  for (int i = 0; i < kPerSide; ++i) {
    const std::int64_t row = at.first_query + tile_y() + kSide * i;
    const float lse = row < s.queries.count ? fp32_at(x.lse, row, at.head) : 0.0F;
#pragma unroll
    for (int j = 0; j < kPerSide; ++j) p[i][j] = places.sees(s, i, j) ? expf(p[i][j] * s.scale - lse) : 0.0F;
  }
}

// gS of the pair, from P.
__device__ void score_gradients_of(const Attention& s, const AttentionGradients& x, const TilePair& at,
                                   TileMemory& memory, const TileValues& p, TileValues& gs) {
  multiply_rows(output_rows(s, x.go, at), value_rows(s, x.v, at), memory, gs);
#pragma unroll
  for (int i = 0; i < kPerSide; ++i) {
    const std::int64_t row = at.first_query + tile_y() + kSide * i;
    const float along = row < s.queries.count ? fp32_at(x.along, row, at.head) : 0.0F;
#pragma unroll
    for (int j = 0; j < kPerSide; ++j) gs[i][j] = p[i][j] * (gs[i][j] - along) * s.scale;
  }
}

template <int kChunks>
__device__ void store_sums(const RowSums<kChunks>& sums, const TileRows& to) {
  float ones[kPerSide];
#pragma unroll
  for (int i = 0; i < kPerSide; ++i) ones[i] = 1.0F;
  sums.store_to(to, ones);
}

// A block to a tile of queries (x) of a head (y).
template <int kChunks>
__global__ void __launch_bounds__(kTileThreads) query_grad_kernel(Attention s, AttentionGradients x) {
  __shared__ TileMemory memory;
  const std::int64_t head = blockIdx.y;
  const std::int64_t key_tiles = parts(s.keys.count, kAttentionTile);
  for (std::int64_t query_tile = blockIdx.x; query_tile * kTile < s.queries.count; query_tile += gridDim.x) {
    TilePair at{query_tile * kTile, 0, head, head * s.kv_heads / s.heads};
    ThreadPlaces places;
    places.set_queries(s.queries, at.first_query);
    RowSums<kChunks> sums;
    sums.clear();
    for (std::int64_t key_tile = 0; key_tile < key_tiles; ++key_tile) {
      if (!any_visible(s, s.query_spans[query_tile], s.key_spans[key_tile])) continue;  // the same for all threads
      at.first_key = key_tile * kTile;
      places.set_keys(s.keys, at.first_key);
      TileValues p, gs;
      probabilities_of(s, x, at, places, memory, p);
      score_gradients_of(s, x, at, memory, p, gs);
      keep_tile(gs, memory);
      add_tile_times<TileSide::kRows>(key_rows(s, x.k, at), memory, sums);
    }
    store_sums(sums, query_rows(s, x.gq, at));
  }
}

// A block to a tile of keys (x) of a key and value head (y).
template <int kKeyChunks, int kValueChunks>
__global__ void __launch_bounds__(kTileThreads) key_grad_kernel(Attention s, AttentionGradients x) {
  __shared__ TileMemory memory;
  const std::int64_t kv_head = blockIdx.y;
  const std::int64_t group = s.heads / s.kv_heads;
  const std::int64_t query_tiles = parts(s.queries.count, kAttentionTile);
  for (std::int64_t key_tile = blockIdx.x; key_tile * kTile < s.keys.count; key_tile += gridDim.x) {
    TilePair at{0, key_tile * kTile, 0, kv_head};
    ThreadPlaces places;
    places.set_keys(s.keys, at.first_key);
    RowSums<kKeyChunks> key_sums;
    RowSums<kValueChunks> value_sums;
    key_sums.clear();
    value_sums.clear();
    for (at.head = kv_head * group; at.head < (kv_head + 1) * group; ++at.head)
      for (std::int64_t query_tile = 0; query_tile < query_tiles; ++query_tile) {
        if (!any_visible(s, s.query_spans[query_tile], s.key_spans[key_tile])) continue;  // the same for all threads
        at.first_query = query_tile * kTile;
        places.set_queries(s.queries, at.first_query);
        TileValues p, gs;
        probabilities_of(s, x, at, places, memory, p);
        score_gradients_of(s, x, at, memory, p, gs);
        keep_tile(p, memory);
        add_tile_times<TileSide::kColumns>(output_rows(s, x.go, at), memory, value_sums);
        keep_tile(gs, memory);
        add_tile_times<TileSide::kColumns>(query_rows(s, x.q, at), memory, key_sums);
      }
    store_sums(key_sums, key_rows(s, x.gk, at));
    store_sums(value_sums, value_rows(s, x.gv, at));
  }
}

}  // namespace

void attention_grad(Stream stream, const Attention& shape, const AttentionGradients& x) {
  launch(along_kernel, warp_per_item(shape.queries.count * shape.heads), stream, shape, x.go, x.o, x.along);
  const Geometry by_queries{blocks(parts(shape.queries.count, kAttentionTile), kMostBlocksX),
                            blocks(shape.heads, kMostBlocksY), kTileThreads};
  const Geometry by_keys{blocks(parts(shape.keys.count, kAttentionTile), kMostBlocksX),
                         blocks(shape.kv_heads, kMostBlocksY), kTileThreads};
  const int key_chunks = chunks_of(shape.head_dim);
  const int value_chunks = chunks_of(shape.value_head_dim);
  if (key_chunks <= 4)
    launch(query_grad_kernel<4>, by_queries, stream, shape, x);
  else
    launch(query_grad_kernel<8>, by_queries, stream, shape, x);
  if (key_chunks <= 4 && value_chunks <= 4)
    launch(key_grad_kernel<4, 4>, by_keys, stream, shape, x);
  else
    launch(key_grad_kernel<8, 8>, by_keys, stream, shape, x);
}

}  // namespace moesim::gpu
