#include "exec/cuda/kernels/embedding.hpp"

#include "exec/cuda/kernels/device.cuh"

namespace moesim::gpu {
namespace {

template <int kWidth>
__global__ void embedding_kernel(const std::int32_t* tokens, std::int64_t first_row, Operand table, Operand y) {
  for (std::int64_t row = blockIdx.x; row < y.rows; row += gridDim.x) {
    const std::int64_t from = tokens[row] - first_row;
    const bool here = from >= 0 && from < table.rows;
    for (std::int64_t c = threadIdx.x * kWidth; c < y.columns; c += blockDim.x * kWidth) {
      float values[kWidth] = {};
      if (here) load(table, from * table.stride + c, values);
      store(y, row * y.stride + c, values);
    }
  }
}

// The block of a token's first place adds up all its places, in their order: no two blocks share a row of the table and sums
// repeat bit by bit. Looking for the places reads all tokens once per block, which stays in the cache.
__global__ void embedding_grad_kernel(const std::int32_t* tokens, std::int64_t first_row, Operand gy, Operand gtable) {
  __shared__ int is_same[kBlockThreads];
  for (std::int64_t place = blockIdx.x; place < gy.rows; place += gridDim.x) {
    const std::int32_t token = tokens[place];
    const std::int64_t to = token - first_row;
    int is_repeat = to < 0 || to >= gtable.rows ? 1 : 0;
    for (std::int64_t before = threadIdx.x; before < place; before += blockDim.x)
      if (tokens[before] == token) is_repeat = 1;
    if (__syncthreads_or(is_repeat) != 0) continue;
    for (std::int64_t first = place; first < gy.rows; first += blockDim.x) {
      const std::int64_t mine = first + threadIdx.x;
      is_same[threadIdx.x] = mine < gy.rows && tokens[mine] == token ? 1 : 0;
      __syncthreads();
      for (int i = 0; i < static_cast<int>(blockDim.x); ++i) {
        if (is_same[i] == 0) continue;
        for (std::int64_t c = threadIdx.x; c < gtable.columns; c += blockDim.x)
          fp32_at(gtable, to, c) += load_one(gy, first + i, c);
      }
      __syncthreads();  // all have read the marks
    }
  }
}

}  // namespace

void embedding(Stream stream, const std::int32_t* tokens, std::int64_t first_row, const Operand& table,
               const Operand& y) {
  if (all_wide({table, y}))
    launch(embedding_kernel<kWideColumns>, block_per_row(y.rows, y.columns, kWideColumns), stream, tokens, first_row,
           table, y);
  else
    launch(embedding_kernel<1>, block_per_row(y.rows, y.columns, 1), stream, tokens, first_row, table, y);
}

void embedding_grad(Stream stream, const std::int32_t* tokens, std::int64_t first_row, const Operand& gy,
                    const Operand& gtable) {
  launch(embedding_grad_kernel, block_per_row(gy.rows, gy.columns, 1), stream, tokens, first_row, gy, gtable);
}

}  // namespace moesim::gpu
