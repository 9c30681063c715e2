#include "exec/cuda/kernels/norm.hpp"

#include "exec/cuda/kernels/device.cuh"

namespace moesim::gpu {
namespace {

// 1 / sqrt(mean(x^2) + epsilon) over `count` elements from `at` on, by a whole block.
template <int kWidth>
__device__ float inverse_rms(const Operand& x, std::int64_t at, std::int64_t count, float epsilon) {
  float squares = 0.0F;
  for (std::int64_t c = threadIdx.x * kWidth; c < count; c += blockDim.x * kWidth) {
    float values[kWidth];
    load(x, at + c, values);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) squares += values[i] * values[i];
  }
  squares = block_reduce(squares, 0.0F, Sum());
  return 1.0F / sqrtf(squares / static_cast<float>(count) + epsilon);
}

// What stands behind the normalised columns passes through.
template <int kWidth>
__device__ void copy_rest(const Operand& from, const Operand& to, std::int64_t row, std::int64_t first) {
  for (std::int64_t c = first + threadIdx.x * kWidth; c < to.columns; c += blockDim.x * kWidth) {
    float values[kWidth];
    load(from, row * from.stride + c, values);
    store(to, row * to.stride + c, values);
  }
}

template <int kWidth>
__global__ void norm_kernel(Operand x, Operand weight, Operand y, float epsilon) {
  const std::int64_t covered = weight.columns;
  for (std::int64_t row = blockIdx.x; row < y.rows; row += gridDim.x) {
    const float inverse = inverse_rms<kWidth>(x, row * x.stride, covered, epsilon);
    for (std::int64_t c = threadIdx.x * kWidth; c < covered; c += blockDim.x * kWidth) {
      float values[kWidth], w[kWidth];
      load(x, row * x.stride + c, values);
      load(weight, c, w);
#pragma unroll
      for (int i = 0; i < kWidth; ++i) values[i] *= inverse * w[i];
      store(y, row * y.stride + c, values);
    }
    copy_rest<kWidth>(x, y, row, covered);
  }
}

// gx = gy w i - x i^3 / n * sum(gy w x). Each block adds up the weight's gradient over its rows in a row of `partials` of its
// own, so that no two blocks meet and the sum repeats bit by bit.
template <int kWidth>
__global__ void norm_grad_kernel(Operand gy, Operand x, Operand weight, Operand gx, float* partials, float epsilon) {
  const std::int64_t covered = weight.columns;
  float* own = partials == nullptr ? nullptr : partials + blockIdx.x * covered;
  if (own != nullptr)
    for (std::int64_t c = threadIdx.x * kWidth; c < covered; c += blockDim.x * kWidth)
#pragma unroll
      for (int i = 0; i < kWidth; ++i) own[c + i] = 0.0F;  // the same thread adds to them below
  for (std::int64_t row = blockIdx.x; row < x.rows; row += gridDim.x) {
    const float inverse = inverse_rms<kWidth>(x, row * x.stride, covered, epsilon);
    float along = 0.0F;
    for (std::int64_t c = threadIdx.x * kWidth; c < covered; c += blockDim.x * kWidth) {
      float g[kWidth], values[kWidth], w[kWidth];
      load(gy, row * gy.stride + c, g);
      load(x, row * x.stride + c, values);
      load(weight, c, w);
#pragma unroll
      for (int i = 0; i < kWidth; ++i) {
        along += g[i] * w[i] * values[i];
        if (own != nullptr) own[c + i] += g[i] * values[i] * inverse;
      }
    }
    along = block_reduce(along, 0.0F, Sum()) * inverse * inverse * inverse / static_cast<float>(covered);
    for (std::int64_t c = threadIdx.x * kWidth; c < covered; c += blockDim.x * kWidth) {
      float g[kWidth], values[kWidth], w[kWidth];
      load(gy, row * gy.stride + c, g);
      load(x, row * x.stride + c, values);
      load(weight, c, w);
#pragma unroll
      for (int i = 0; i < kWidth; ++i) g[i] = g[i] * w[i] * inverse - values[i] * along;
      store(gx, row * gx.stride + c, g);
    }
    copy_rest<kWidth>(gy, gx, row, covered);
  }
}

__global__ void add_rows_kernel(const float* partials, std::int64_t rows, std::int64_t row_stride, Operand total) {
  for (std::int64_t c = thread_of_row(); c < total.columns; c += threads_of_row()) {
    float sum = 0.0F;
    for (std::int64_t r = 0; r < rows; ++r) sum += partials[r * row_stride + c];
    fp32_at(total, 0, c) += sum;
  }
}

// Rows are read eight columns at a time only where the normalised part ends at a multiple of eight.
bool wide(const Operand& weight, std::initializer_list<Operand> others) {
  return weight.columns % kWideColumns == 0 && reinterpret_cast<std::uintptr_t>(weight.data) % 16 == 0 &&
         all_wide(others);
}

}  // namespace

void norm(Stream stream, const Operand& x, const Operand& weight, const Operand& y, float epsilon) {
  if (wide(weight, {x, y}))
    launch(norm_kernel<kWideColumns>, block_per_row(y.rows, y.columns, kWideColumns), stream, x, weight, y, epsilon);
  else
    launch(norm_kernel<1>, block_per_row(y.rows, y.columns, 1), stream, x, weight, y, epsilon);
}

std::int64_t norm_grad_parts(std::int64_t rows) { return blocks(rows, kMostNormGradParts); }

void norm_grad(Stream stream, const Operand& gy, const Operand& x, const Operand& weight, const Operand& gx,
               const Operand& gw, float* partials, float epsilon) {
  const bool eights = wide(weight, {gy, x, gx});
  Geometry geometry = block_per_row(x.rows, x.columns, eights ? kWideColumns : 1);
  geometry.x = static_cast<unsigned>(norm_grad_parts(x.rows));
  float* sums = gw.data == nullptr ? nullptr : partials;
  if (eights)
    launch(norm_grad_kernel<kWideColumns>, geometry, stream, gy, x, weight, gx, sums, epsilon);
  else
    launch(norm_grad_kernel<1>, geometry, stream, gy, x, weight, gx, sums, epsilon);
  if (sums != nullptr) add_rows(stream, sums, geometry.x, weight.columns, gw);
}

void add_rows(Stream stream, const float* partials, std::int64_t rows, std::int64_t row_stride, const Operand& total) {
  launch(add_rows_kernel, over_elements(1, total.columns, 1), stream, partials, rows, row_stride, total);
}

}  // namespace moesim::gpu
