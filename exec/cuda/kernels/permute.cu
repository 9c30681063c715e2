#include "exec/cuda/kernels/permute.hpp"

#include "exec/cuda/kernels/device.cuh"

namespace moesim::gpu {
namespace {

// The weight of a copy; 1 without probabilities.
__device__ float weight_of(const Operand& probabilities, const Copies& copies, std::int64_t copy) {
  if (probabilities.data == nullptr) return 1.0F;
  return fp32_at(probabilities, copy / copies.top_k, copy % copies.top_k);
}

// to[to_row] = factor * from[from_row], by a block.
template <int kWidth>
__device__ void write_row(const Operand& from, std::int64_t from_row, const Operand& to, std::int64_t to_row,
                          float factor) {
  for (std::int64_t c = threadIdx.x * kWidth; c < to.columns; c += blockDim.x * kWidth) {
    float values[kWidth];
    load(from, from_row * from.stride + c, values);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) values[i] *= factor;
    store(to, to_row * to.stride + c, values);
  }
}

// The same bit by bit, between operands of one type.
template <int kWidth>
__device__ void copy_row(const Operand& from, std::int64_t from_row, const Operand& to, std::int64_t to_row) {
  for (std::int64_t c = threadIdx.x * kWidth; c < to.columns; c += blockDim.x * kWidth) {
    Raw<kWidth> raw;
    fetch(from, from_row * from.stride + c, raw);
    store_raw(to, to_row * to.stride + c, raw);
  }
}

template <int kWidth>
__device__ void zero_row(const Operand& to, std::int64_t row) {
  const float zeros[kWidth] = {};
  for (std::int64_t c = threadIdx.x * kWidth; c < to.columns; c += blockDim.x * kWidth)
    store(to, row * to.stride + c, zeros);
}

template <int kWidth>
__global__ void permute_kernel(Copies copies, Operand x, Operand probabilities, Operand y, Operand weights) {
  for (std::int64_t row = blockIdx.x; row < y.rows; row += gridDim.x) {
    const std::int32_t copy = copies.copy_of_row[row];
    if (weights.data != nullptr && threadIdx.x == 0)
      fp32_at(weights, row, 0) = copy < 0 ? 0.0F : weight_of(probabilities, copies, copy);
    if (copy < 0)
      zero_row<kWidth>(y, row);
    else
      copy_row<kWidth>(x, copy / copies.top_k, y, row);
  }
}

// out[token] = sum over the token's copies of weight * rows[row of the copy].
template <int kWidth>
__device__ void sum_of_copies(const Copies& copies, std::int64_t token, const Operand& probabilities,
                              const Operand& rows, const Operand& out) {
  for (std::int64_t c = threadIdx.x * kWidth; c < out.columns; c += blockDim.x * kWidth) {
    float sum[kWidth] = {};
    for (std::int64_t copy = token * copies.top_k; copy < (token + 1) * copies.top_k; ++copy) {
      const std::int32_t row = copies.row_of_copy[copy];
      if (row < 0) continue;
      const float weight = weight_of(probabilities, copies, copy);
      float values[kWidth];
      load(rows, row * rows.stride + c, values);
#pragma unroll
      for (int i = 0; i < kWidth; ++i) sum[i] += weight * values[i];
    }
    store(out, token * out.stride + c, sum);
  }
}

template <int kWidth>
__global__ void permute_grad_kernel(Copies copies, Operand gy, Operand gweights, Operand gx, Operand gp) {
  for (std::int64_t token = blockIdx.x; token < copies.tokens; token += gridDim.x) {
    sum_of_copies<kWidth>(copies, token, Operand(), gy, gx);
    if (gp.data == nullptr) continue;
    for (std::int64_t i = threadIdx.x; i < 2 * copies.top_k; i += blockDim.x) {
      const std::int32_t row = i < copies.top_k ? copies.row_of_copy[token * copies.top_k + i] : -1;
      fp32_at(gp, token, i) = gweights.data != nullptr && row >= 0 ? fp32_at(gweights, row, 0) : 0.0F;
    }
  }
}

template <int kWidth>
__global__ void unpermute_kernel(Copies copies, Operand y, Operand probabilities, Operand x) {
  for (std::int64_t token = blockIdx.x; token < copies.tokens; token += gridDim.x)
    sum_of_copies<kWidth>(copies, token, probabilities, y, x);
}

template <int kWidth>
__global__ void unpermute_grad_kernel(Copies copies, Operand gx, Operand probabilities, Operand gy) {
  for (std::int64_t row = blockIdx.x; row < gy.rows; row += gridDim.x) {
    const std::int32_t copy = copies.copy_of_row[row];
    if (copy < 0)
      zero_row<kWidth>(gy, row);
    else
      write_row<kWidth>(gx, copy / copies.top_k, gy, row, weight_of(probabilities, copies, copy));
  }
}

// gp of a copy = gx of its token times its row of y; a warp to each of the 2 top_k numbers of a token, whose second half is 0.
template <int kWidth>
__global__ void weight_grad_kernel(Copies copies, Operand gx, Operand y, Operand gp) {
  const std::int64_t per_token = 2 * copies.top_k;
  for (std::int64_t item = first_item(); item < copies.tokens * per_token; item += items_at_once()) {
    const std::int64_t token = item / per_token;
    const std::int64_t slot = item % per_token;
    const std::int32_t row = slot < copies.top_k ? copies.row_of_copy[token * copies.top_k + slot] : -1;
    float sum = 0.0F;
    for (std::int64_t c = lane_of_warp() * kWidth; row >= 0 && c < gx.columns; c += kWarpThreads * kWidth) {
      float g[kWidth], values[kWidth];
      load(gx, token * gx.stride + c, g);
      load(y, row * y.stride + c, values);
#pragma unroll
      for (int i = 0; i < kWidth; ++i) sum += g[i] * values[i];
    }
    sum = warp_reduce(sum, Sum());
    if (lane_of_warp() == 0) fp32_at(gp, token, slot) = sum;
  }
}

// The last run with first <= row.
__device__ RowRun run_with(const RowRun* runs, std::int64_t count, std::int64_t row) {
  std::int64_t low = 0, high = count - 1;
  while (low < high) {
    const std::int64_t middle = (low + high + 1) / 2;
    if (runs[middle].first <= row)
      low = middle;
    else
      high = middle - 1;
  }
  return runs[low];
}

template <int kWidth>
__global__ void move_rows_kernel(const RowRun* runs, std::int64_t count, std::int64_t rows, Operand x, Operand y) {
  for (std::int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const RowRun run = run_with(runs, count, row);
    copy_row<kWidth>(x, run.from + row - run.first, y, run.to + row - run.first);
  }
}

__global__ void deal_rows_kernel(const RowRun* runs, std::int64_t count, std::int64_t rows, const std::int32_t* before,
                                 std::int32_t* copy_of_row, std::int32_t* row_of_copy) {
  for (std::int64_t row = thread_of_row(); row < rows; row += threads_of_row()) {
    const RowRun run = run_with(runs, count, row);
    const std::int64_t to = run.to + row - run.first;
    const std::int32_t copy = before[run.from + row - run.first];
    copy_of_row[to] = copy;
    if (copy >= 0) row_of_copy[copy] = static_cast<std::int32_t>(to);
  }
}

}  // namespace

void permute(Stream stream, const Copies& copies, const Operand& x, const Operand& probabilities, const Operand& y,
             const Operand& weights) {
  if (all_wide({x, y}))
    launch(permute_kernel<kWideColumns>, block_per_row(y.rows, y.columns, kWideColumns), stream, copies, x,
           probabilities, y, weights);
  else
    launch(permute_kernel<1>, block_per_row(y.rows, y.columns, 1), stream, copies, x, probabilities, y, weights);
}

void permute_grad(Stream stream, const Copies& copies, const Operand& gy, const Operand& gweights, const Operand& gx,
                  const Operand& gp) {
  if (all_wide({gy, gx}))
    launch(permute_grad_kernel<kWideColumns>, block_per_row(gx.rows, gx.columns, kWideColumns), stream, copies, gy,
           gweights, gx, gp);
  else
    launch(permute_grad_kernel<1>, block_per_row(gx.rows, gx.columns, 1), stream, copies, gy, gweights, gx, gp);
}

void unpermute(Stream stream, const Copies& copies, const Operand& y, const Operand& probabilities, const Operand& x) {
  if (all_wide({y, x}))
    launch(unpermute_kernel<kWideColumns>, block_per_row(x.rows, x.columns, kWideColumns), stream, copies, y,
           probabilities, x);
  else
    launch(unpermute_kernel<1>, block_per_row(x.rows, x.columns, 1), stream, copies, y, probabilities, x);
}

void unpermute_grad(Stream stream, const Copies& copies, const Operand& gx, const Operand& probabilities,
                    const Operand& y, const Operand& gy, const Operand& gp) {
  if (all_wide({gx, gy}))
    launch(unpermute_grad_kernel<kWideColumns>, block_per_row(gy.rows, gy.columns, kWideColumns), stream, copies, gx,
           probabilities, gy);
  else
    launch(unpermute_grad_kernel<1>, block_per_row(gy.rows, gy.columns, 1), stream, copies, gx, probabilities, gy);
  if (gp.data == nullptr) return;
  const Geometry warps = warp_per_item(copies.tokens * 2 * copies.top_k);
  if (all_wide({gx, y}))
    launch(weight_grad_kernel<kWideColumns>, warps, stream, copies, gx, y, gp);
  else
    launch(weight_grad_kernel<1>, warps, stream, copies, gx, y, gp);
}

void move_rows(Stream stream, const RowRun* runs, std::int64_t count, std::int64_t rows, const Operand& x,
               const Operand& y) {
  if (all_wide({x, y}))
    launch(move_rows_kernel<kWideColumns>, block_per_row(rows, y.columns, kWideColumns), stream, runs, count, rows, x,
           y);
  else
    launch(move_rows_kernel<1>, block_per_row(rows, y.columns, 1), stream, runs, count, rows, x, y);
}

void deal_rows(Stream stream, const RowRun* runs, std::int64_t count, std::int64_t rows, const std::int32_t* before,
               std::int32_t* copy_of_row, std::int32_t* row_of_copy) {
  launch(deal_rows_kernel, over_elements(1, rows, 1), stream, runs, count, rows, before, copy_of_row, row_of_copy);
}

}  // namespace moesim::gpu
