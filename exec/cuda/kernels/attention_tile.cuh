// What the attention kernels do with one tile of 64 queries and 64 keys: the products of 64 x 64, and which scores are hidden.
//
// A block has 256 threads in 16 rows of 16. Thread (ty, tx) holds elements (ty + 16 i, tx + 16 j) of a tile, i, j < 4: then the
// threads of a row read neighbouring words of shared memory, and a row of a tile lies in 16 neighbouring lanes.
#pragma once

#include "exec/cuda/kernels/attention.hpp"
#include "exec/cuda/kernels/device.cuh"

namespace moesim::gpu {

constexpr int kTile = static_cast<int>(kAttentionTile);
constexpr int kTileThreads = 256;
constexpr int kSide = 16;                // threads along a side
constexpr int kPerSide = kTile / kSide;  // elements of a thread along a side
constexpr int kChunk = 32;               // columns of operands in shared memory at once
constexpr int kChunkColumns = kChunk / kSide;

__device__ inline int tile_y() { return static_cast<int>(threadIdx.x) / kSide; }
__device__ inline int tile_x() { return static_cast<int>(threadIdx.x) % kSide; }

// Columns [first_column, first_column + columns) of rows [first_row, ...) of an operand.
struct TileRows {
  Operand m;
  std::int64_t first_row;
  std::int64_t first_column;
  std::int64_t columns;
};

// A further column keeps threads that read different rows in different banks.
struct TileMemory {
  float left[kTile][kChunk + 1];
  float right[kTile][kChunk + 1];
  float tile[kTile][kTile + 1];
};

// Rows and columns that there are not become zeros.
__device__ inline void load_chunk(const TileRows& from, std::int64_t chunk, float (&to)[kTile][kChunk + 1]) {
  for (int i = static_cast<int>(threadIdx.x); i < kTile * kChunk; i += kTileThreads) {
    const int row = i / kChunk;
    const int column = i % kChunk;
    const bool there = from.first_row + row < from.m.rows && chunk + column < from.columns;
    to[row][column] = there ? load_one(from.m, from.first_row + row, from.first_column + chunk + column) : 0.0F;
  }
}

using TileValues = float[kPerSide][kPerSide];

// values[i][j] = the product of row (ty + 16 i) of `left` and row (tx + 16 j) of `right`.
__device__ inline void multiply_rows(const TileRows& left, const TileRows& right, TileMemory& memory,
                                     TileValues& values) {
#pragma unroll
  for (int i = 0; i < kPerSide; ++i)
#pragma unroll
    for (int j = 0; j < kPerSide; ++j) values[i][j] = 0.0F;
  for (std::int64_t chunk = 0; chunk < left.columns; chunk += kChunk) {
    __syncthreads();  // what stood there has been read
    load_chunk(left, chunk, memory.left);
    load_chunk(right, chunk, memory.right);
    __syncthreads();
#pragma unroll 4
    for (int k = 0; k < kChunk; ++k) {
      float a[kPerSide], b[kPerSide];
#pragma unroll
      for (int i = 0; i < kPerSide; ++i) {
        a[i] = memory.left[tile_y() + kSide * i][k];
        b[i] = memory.right[tile_x() + kSide * i][k];
      }
#pragma unroll
      for (int i = 0; i < kPerSide; ++i)
#pragma unroll
        for (int j = 0; j < kPerSide; ++j) values[i][j] += a[i] * b[j];
    }
  }
}

__device__ inline void keep_tile(const TileValues& values, TileMemory& memory) {
  __syncthreads();  // what stood there has been read
#pragma unroll
  for (int i = 0; i < kPerSide; ++i)
#pragma unroll
    for (int j = 0; j < kPerSide; ++j) memory.tile[tile_y() + kSide * i][tile_x() + kSide * j] = values[i][j];
  __syncthreads();
}

// Sums of 64 rows by up to kChunks * 32 columns: element [c][i][j] is row ty + 16 i, column 32 c + tx + 16 j.
template <int kChunks>
struct RowSums {
  float values[kChunks][kPerSide][kChunkColumns];

  __device__ void clear() {
#pragma unroll
    for (int c = 0; c < kChunks; ++c)
#pragma unroll
      for (int i = 0; i < kPerSide; ++i)
#pragma unroll
        for (int j = 0; j < kChunkColumns; ++j) values[c][i][j] = 0.0F;
  }

  // Rows of the operand from first_row on; those past its end are left out.
  __device__ void store_to(const TileRows& to, const float (&factors)[kPerSide]) const {
#pragma unroll
    for (int c = 0; c < kChunks; ++c)
#pragma unroll
      for (int i = 0; i < kPerSide; ++i)
#pragma unroll
        for (int j = 0; j < kChunkColumns; ++j) {
          const std::int64_t row = to.first_row + tile_y() + kSide * i;
          const std::int64_t column = c * kChunk + tile_x() + kSide * j;
          if (row < to.m.rows && column < to.columns)
            store_one(to.m, row, to.first_column + column, values[c][i][j] * factors[i]);
        }
  }
};

// sums += the tile kept in memory (or its transpose) times 64 rows.
enum class TileSide : std::uint8_t { kRows, kColumns };
template <TileSide kSideOfTile, int kChunks>
__device__ inline void add_tile_times(const TileRows& rows, TileMemory& memory, RowSums<kChunks>& sums) {
#pragma unroll
  for (int c = 0; c < kChunks; ++c) {
    if (c * kChunk >= rows.columns) break;  // the same for all threads
    __syncthreads();                        // what stood there has been read
    load_chunk(rows, c * kChunk, memory.right);
    __syncthreads();
#pragma unroll 4
    for (int k = 0; k < kTile; ++k) {
      float a[kPerSide], b[kChunkColumns];
#pragma unroll
      for (int i = 0; i < kPerSide; ++i) {
        const int own = tile_y() + kSide * i;
        a[i] = kSideOfTile == TileSide::kRows ? memory.tile[own][k] : memory.tile[k][own];
      }
#pragma unroll
      for (int j = 0; j < kChunkColumns; ++j) b[j] = memory.right[k][tile_x() + kSide * j];
#pragma unroll
      for (int i = 0; i < kPerSide; ++i)
#pragma unroll
        for (int j = 0; j < kChunkColumns; ++j) sums.values[c][i][j] += a[i] * b[j];
    }
  }
}

// Whether any query of one tile may see any key of the other.
__device__ inline bool any_visible(const Attention& shape, const TileSpan& q, const TileSpan& k) {
  if (k.first_sequence > q.last_sequence || k.last_sequence < q.first_sequence) return false;
  if (k.first_position > q.last_position) return false;
  return shape.window == 0 || static_cast<std::int64_t>(q.first_position) - k.last_position < shape.window;
}

// The places of a thread's four queries and four keys. What is past the end sees nothing.
struct ThreadPlaces {
  std::int32_t query_position[kPerSide], query_sequence[kPerSide];
  std::int32_t key_position[kPerSide], key_sequence[kPerSide];
  bool query_there[kPerSide], key_there[kPerSide];

  __device__ void set_queries(const Places& places, std::int64_t first) {
#pragma unroll
    for (int i = 0; i < kPerSide; ++i) {
      const std::int64_t row = first + tile_y() + kSide * i;
      query_there[i] = row < places.count;
      query_position[i] = query_there[i] ? places.positions[row] : 0;
      query_sequence[i] = query_there[i] ? places.sequences[row] : 0;
    }
  }
  __device__ void set_keys(const Places& places, std::int64_t first) {
#pragma unroll
    for (int j = 0; j < kPerSide; ++j) {
      const std::int64_t row = first + tile_x() + kSide * j;
      key_there[j] = row < places.count;
      key_position[j] = key_there[j] ? places.positions[row] : 0;
      key_sequence[j] = key_there[j] ? places.sequences[row] : 0;
    }
  }
  __device__ bool sees(const Attention& shape, int i, int j) const {
    const std::int64_t distance = static_cast<std::int64_t>(query_position[i]) - key_position[j];
    return query_there[i] && key_there[j] && query_sequence[i] == key_sequence[j] && distance >= 0 &&
           (shape.window == 0 || distance < shape.window);
  }
};

// Tiles of columns that a chunked sum needs.
inline int chunks_of(std::int64_t columns) { return static_cast<int>(parts(columns, kChunk)); }

}  // namespace moesim::gpu
