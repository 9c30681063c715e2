// How many threads a kernel gets: grids within CUDA's limits (2^31 - 1 blocks along x, 65535 along y and z) whatever the operand's
// size. Kernels walk over what a grid does not cover. Never empty, so that an operation on nothing is still a launch.
//
// Example: 3 rows of 1000 columns, 8 columns a thread: one block of 256 threads along x, three along y.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "exec/cuda/kernels/operand.hpp"

namespace moesim::gpu {

struct Geometry {
  unsigned x = 1, y = 1;
  unsigned threads = 1;
};

constexpr int kWarpThreads = 32;
constexpr int kBlockThreads = 256;
constexpr int kWideColumns = 8;  // one 16-byte access of BF16, two of FP32
constexpr std::int64_t kMostBlocksX = 1 << 20;
constexpr std::int64_t kMostBlocksY = 65535;

#ifdef __CUDACC__
__host__ __device__
#endif
    [[nodiscard]] constexpr std::int64_t
    parts(std::int64_t count, std::int64_t size) {
  return (count + size - 1) / size;
}

[[nodiscard]] constexpr unsigned blocks(std::int64_t wanted, std::int64_t most) {
  return static_cast<unsigned>(std::clamp<std::int64_t>(wanted, 1, most));
}

// Columns along x, `per_thread` to a thread; rows along y.
[[nodiscard]] constexpr Geometry over_elements(std::int64_t rows, std::int64_t columns, std::int64_t per_thread) {
  return {blocks(parts(columns, kBlockThreads * per_thread), kMostBlocksX), blocks(rows, kMostBlocksY), kBlockThreads};
}

// A block to a row. Short rows get fewer threads, whole warps.
[[nodiscard]] constexpr Geometry block_per_row(std::int64_t rows, std::int64_t columns, std::int64_t per_thread) {
  const std::int64_t threads = parts(parts(columns, per_thread), kWarpThreads) * kWarpThreads;
  return {blocks(rows, kMostBlocksX), 1,
          static_cast<unsigned>(std::clamp<std::int64_t>(threads, kWarpThreads, kBlockThreads))};
}

// A warp to an item.
[[nodiscard]] constexpr Geometry warp_per_item(std::int64_t items) {
  return {blocks(parts(items, kBlockThreads / kWarpThreads), kMostBlocksX), 1, kBlockThreads};
}

// Whether rows can be read eight columns at a time: they begin at multiples of 16 bytes and have whole eights.
[[nodiscard]] inline bool is_wide(const Operand& m) {
  return m.columns % kWideColumns == 0 && m.stride % kWideColumns == 0 &&
         reinterpret_cast<std::uintptr_t>(m.data) % 16 == 0;
}
[[nodiscard]] inline bool all_wide(std::initializer_list<Operand> operands) {
  return std::all_of(operands.begin(), operands.end(),
                     [](const Operand& m) { return m.data == nullptr || is_wide(m); });
}

// A matrix without gaps as one row, so that short rows keep all threads busy.
[[nodiscard]] inline bool is_dense(const Operand& m) { return m.stride == m.columns || m.rows <= 1; }
[[nodiscard]] inline Operand flattened(Operand m) {
  m.columns *= m.rows;
  m.stride = m.columns;
  m.rows = m.columns > 0 ? 1 : 0;
  return m;
}

}  // namespace moesim::gpu
