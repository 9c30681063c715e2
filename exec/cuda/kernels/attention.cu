#include "exec/cuda/kernels/attention.hpp"

#include "exec/cuda/kernels/attention_tile.cuh"

namespace moesim::gpu {
namespace {

// A warp to a tile.
__global__ void spans_kernel(Places places, TileSpan* spans) {
  const std::int64_t tiles = parts(places.count, kAttentionTile);
  for (std::int64_t tile = first_item(); tile < tiles; tile += items_at_once()) {
    const std::int64_t first = tile * kAttentionTile;
    TileSpan span{places.positions[first], places.positions[first], places.sequences[first], places.sequences[first]};
    for (std::int64_t i = first + lane_of_warp(); i < places.count && i < first + kAttentionTile; i += kWarpThreads) {
      span.first_position = min(span.first_position, places.positions[i]);
      span.last_position = max(span.last_position, places.positions[i]);
      span.first_sequence = min(span.first_sequence, places.sequences[i]);
      span.last_sequence = max(span.last_sequence, places.sequences[i]);
    }
    const auto lower = [](std::int32_t a, std::int32_t b) { return min(a, b); };
    const auto upper = [](std::int32_t a, std::int32_t b) { return max(a, b); };
    span.first_position = warp_reduce(span.first_position, lower);
    span.last_position = warp_reduce(span.last_position, upper);
    span.first_sequence = warp_reduce(span.first_sequence, lower);
    span.last_sequence = warp_reduce(span.last_sequence, upper);
    if (lane_of_warp() == 0) spans[tile] = span;
  }
}

// A block to a tile of queries (x) of a head (y).
template <int kChunks>
__global__ void __launch_bounds__(kTileThreads)
    attention_kernel(Attention s, Operand q, Operand k, Operand v, Operand o, Operand lse) {
  __shared__ TileMemory memory;
  const std::int64_t head = blockIdx.y;
  const std::int64_t kv_head = head * s.kv_heads / s.heads;
  const std::int64_t key_tiles = parts(s.keys.count, kAttentionTile);
  for (std::int64_t query_tile = blockIdx.x; query_tile * kTile < s.queries.count; query_tile += gridDim.x) {
    const std::int64_t first_query = query_tile * kTile;
    const TileRows queries{q, first_query, head * s.head_dim, s.head_dim};
    ThreadPlaces places;
    places.set_queries(s.queries, first_query);
    RowSums<kChunks> sums;
    sums.clear();
    // Of the keys so far: the largest score, and the sum of exponentials. All 16 threads of a row hold the same.
    float largest[kPerSide], total[kPerSide];
#pragma unroll
    for (int i = 0; i < kPerSide; ++i) largest[i] = -INFINITY, total[i] = 0.0F;
    for (std::int64_t key_tile = 0; key_tile < key_tiles; ++key_tile) {
      if (!any_visible(s, s.query_spans[query_tile], s.key_spans[key_tile])) continue;  // the same for all threads
      const std::int64_t first_key = key_tile * kTile;
      TileValues scores;
      multiply_rows(queries, {k, first_key, kv_head * s.head_dim, s.head_dim}, memory, scores);
      places.set_keys(s.keys, first_key);
#pragma unroll
      for (int i = 0; i < kPerSide; ++i) {
        float highest = largest[i];
#pragma unroll
        for (int j = 0; j < kPerSide; ++j) {
          scores[i][j] = places.sees(s, i, j) ? scores[i][j] * s.scale : -INFINITY;
          highest = fmaxf(highest, scores[i][j]);
        }
        highest = warp_reduce<kSide>(highest, Largest());
        const float before = largest[i] == -INFINITY ? 0.0F : expf(largest[i] - highest);
        float sum = 0.0F;
#pragma unroll
        for (int j = 0; j < kPerSide; ++j) {
          scores[i][j] = scores[i][j] == -INFINITY ? 0.0F : expf(scores[i][j] - highest);
          sum += scores[i][j];
        }
        total[i] = total[i] * before + warp_reduce<kSide>(sum, Sum());
        largest[i] = highest;
#pragma unroll
        for (int c = 0; c < kChunks; ++c)
#pragma unroll
          for (int j = 0; j < kChunkColumns; ++j) sums.values[c][i][j] *= before;
      }
      if (o.data == nullptr) continue;  // the same for all threads
      keep_tile(scores, memory);
      add_tile_times<TileSide::kRows>({v, first_key, kv_head * s.value_head_dim, s.value_head_dim}, memory, sums);
    }
    float shares[kPerSide];
#pragma unroll
    for (int i = 0; i < kPerSide; ++i) {
      shares[i] = total[i] > 0.0F ? 1.0F / total[i] : 0.0F;
      const std::int64_t row = first_query + tile_y() + kSide * i;
      if (lse.data != nullptr && tile_x() == 0 && row < s.queries.count)
        fp32_at(lse, row, head) = total[i] > 0.0F ? largest[i] + logf(total[i]) : -INFINITY;
    }
    if (o.data != nullptr) sums.store_to({o, first_query, head * s.value_head_dim, s.value_head_dim}, shares);
  }
}

}  // namespace

void find_spans(Stream stream, const Attention& shape) {
  launch(spans_kernel, warp_per_item(parts(shape.queries.count, kAttentionTile)), stream, shape.queries,
         shape.query_spans);
  launch(spans_kernel, warp_per_item(parts(shape.keys.count, kAttentionTile)), stream, shape.keys, shape.key_spans);
}

void attention(Stream stream, const Attention& shape, const Operand& q, const Operand& k, const Operand& v,
               const Operand& o, const Operand& lse) {
  const Geometry geometry{blocks(parts(shape.queries.count, kAttentionTile), kMostBlocksX),
                          blocks(shape.heads, kMostBlocksY), kTileThreads};
  const int chunks = o.data == nullptr ? 1 : chunks_of(shape.value_head_dim);
  if (chunks <= 4)
    launch(attention_kernel<4>, geometry, stream, shape, q, k, v, o, lse);
  else
    launch(attention_kernel<8>, geometry, stream, shape, q, k, v, o, lse);
}

}  // namespace moesim::gpu
