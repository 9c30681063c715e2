#include "exec/cuda/kernels/elementwise.hpp"

#include "exec/cuda/kernels/device.cuh"

namespace moesim::gpu {
namespace {

// Every element once: `work` gets the row and its column(s).
template <int kWidth, class Work>
__device__ void for_each(std::int64_t rows, std::int64_t columns, Work work) {
  for (std::int64_t row = blockIdx.y; row < rows; row += gridDim.y)
    for (std::int64_t column = thread_of_row() * kWidth; column < columns; column += threads_of_row() * kWidth)
      work(row, column);
}

template <int kWidth>
__global__ void add_kernel(Operand a, Operand b, Operand y) {
  for_each<kWidth>(y.rows, y.columns, [&](std::int64_t row, std::int64_t column) {
    Raw<kWidth> raw_a, raw_b;
    fetch(a, row * a.stride + column, raw_a);
    fetch(b, row * b.stride + column, raw_b);
    float left[kWidth], right[kWidth];
    widen(a, raw_a, left);
    widen(b, raw_b, right);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) left[i] += right[i];
    store(y, row * y.stride + column, left);
  });
}

template <int kWidth>
__global__ void cast_kernel(Operand x, Operand y) {
  for_each<kWidth>(y.rows, y.columns, [&](std::int64_t row, std::int64_t column) {
    float values[kWidth];
    load(x, row * x.stride + column, values);
    store(y, row * y.stride + column, values);
  });
}

template <int kWidth>
__global__ void scale_kernel(Operand x, float factor) {
  for_each<kWidth>(x.rows, x.columns, [&](std::int64_t row, std::int64_t column) {
    float values[kWidth];
    load(x, row * x.stride + column, values);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) values[i] *= factor;
    store(x, row * x.stride + column, values);
  });
}

template <int kWidth>
__global__ void fill_kernel(Operand x, float value) {
  for_each<kWidth>(x.rows, x.columns, [&](std::int64_t row, std::int64_t column) {
    float values[kWidth];
#pragma unroll
    for (int i = 0; i < kWidth; ++i) values[i] = value;
    store(x, row * x.stride + column, values);
  });
}

// A fixed number of blocks, each with a fixed share, so that the sum repeats bit by bit.
template <int kWidth>
__global__ void square_parts_kernel(Operand x, double* partials) {
  double sum = 0.0;
  for (std::int64_t row = 0; row < x.rows; ++row)
    for (std::int64_t column = thread_of_row() * kWidth; column < x.columns; column += threads_of_row() * kWidth) {
      float values[kWidth];
      load(x, row * x.stride + column, values);
      float squares = 0.0F;  // of at most eight numbers
#pragma unroll
      for (int i = 0; i < kWidth; ++i) squares += values[i] * values[i];
      sum += static_cast<double>(squares);
    }
  sum = block_reduce(sum, 0.0, Sum());
  if (threadIdx.x == 0) partials[blockIdx.x] = sum;
}

__global__ void add_parts_kernel(const double* partials, int count, double* total) {
  double sum = 0.0;
  for (int i = static_cast<int>(threadIdx.x); i < count; i += static_cast<int>(blockDim.x)) sum += partials[i];
  sum = block_reduce(sum, 0.0, Sum());
  if (threadIdx.x == 0) *total += sum;
}

template <int kWidth>
__global__ void adamw_kernel(AdamWStep s, Operand gradient, Operand master, Operand first, Operand second,
                             Operand parameter) {
  for_each<kWidth>(master.rows, master.columns, [&](std::int64_t row, std::int64_t column) {
    Raw<kWidth> raw_g, raw_w, raw_m, raw_v;
    fetch(gradient, row * gradient.stride + column, raw_g);
    fetch(master, row * master.stride + column, raw_w);
    fetch(first, row * first.stride + column, raw_m);
    fetch(second, row * second.stride + column, raw_v);
    float g[kWidth], w[kWidth], m[kWidth], v[kWidth];
    widen(gradient, raw_g, g);
    widen(master, raw_w, w);
    widen(first, raw_m, m);
    widen(second, raw_v, v);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) {
      g[i] *= s.gradient_scale;
      m[i] = s.beta1 * m[i] + (1.0F - s.beta1) * g[i];
      v[i] = s.beta2 * v[i] + (1.0F - s.beta2) * g[i] * g[i];
      const float direction = m[i] * s.first_share / (sqrtf(v[i] * s.second_share) + s.epsilon);
      w[i] -= s.rate * (direction + s.weight_decay * w[i]);
    }
    store(first, row * first.stride + column, m);
    store(second, row * second.stride + column, v);
    store(master, row * master.stride + column, w);
    store(parameter, row * parameter.stride + column, w);
  });
}

}  // namespace

void add(Stream stream, const Operand& a, const Operand& b, const Operand& y) {
  if (is_dense(a) && is_dense(b) && is_dense(y) && y.rows > 1)
    return add(stream, flattened(a), flattened(b), flattened(y));
  if (all_wide({a, b, y}))
    launch(add_kernel<kWideColumns>, over_elements(y.rows, y.columns, kWideColumns), stream, a, b, y);
  else
    launch(add_kernel<1>, over_elements(y.rows, y.columns, 1), stream, a, b, y);
}

void cast(Stream stream, const Operand& x, const Operand& y) {
  if (is_dense(x) && is_dense(y) && y.rows > 1) return cast(stream, flattened(x), flattened(y));
  if (all_wide({x, y}))
    launch(cast_kernel<kWideColumns>, over_elements(y.rows, y.columns, kWideColumns), stream, x, y);
  else
    launch(cast_kernel<1>, over_elements(y.rows, y.columns, 1), stream, x, y);
}

void scale(Stream stream, const Operand& x, float factor) {
  if (is_dense(x) && x.rows > 1) return scale(stream, flattened(x), factor);
  if (is_wide(x))
    launch(scale_kernel<kWideColumns>, over_elements(x.rows, x.columns, kWideColumns), stream, x, factor);
  else
    launch(scale_kernel<1>, over_elements(x.rows, x.columns, 1), stream, x, factor);
}

void fill(Stream stream, const Operand& x, float value) {
  if (is_dense(x) && x.rows > 1) return fill(stream, flattened(x), value);
  if (is_wide(x))
    launch(fill_kernel<kWideColumns>, over_elements(x.rows, x.columns, kWideColumns), stream, x, value);
  else
    launch(fill_kernel<1>, over_elements(x.rows, x.columns, 1), stream, x, value);
}

void square_sum(Stream stream, const Operand& x, double* partials, double* sum) {
  if (is_dense(x) && x.rows > 1) return square_sum(stream, flattened(x), partials, sum);
  const int width = is_wide(x) ? kWideColumns : 1;
  const Geometry geometry{blocks(parts(x.columns, kBlockThreads * width), kSquareSumParts), 1, kBlockThreads};
  if (width == kWideColumns)
    launch(square_parts_kernel<kWideColumns>, geometry, stream, x, partials);
  else
    launch(square_parts_kernel<1>, geometry, stream, x, partials);
  launch(add_parts_kernel, Geometry{1, 1, kBlockThreads}, stream, partials, static_cast<int>(geometry.x), sum);
}

void adamw(Stream stream, const AdamWStep& step, const Operand& gradient, const Operand& master,
           const Operand& first_moment, const Operand& second_moment, const Operand& parameter) {
  const Geometry wide = over_elements(master.rows, master.columns, kWideColumns);
  const Geometry narrow = over_elements(master.rows, master.columns, 1);
  if (all_wide({gradient, master, first_moment, second_moment, parameter}))
    launch(adamw_kernel<kWideColumns>, wide, stream, step, gradient, master, first_moment, second_moment, parameter);
  else
    launch(adamw_kernel<1>, narrow, stream, step, gradient, master, first_moment, second_moment, parameter);
}

}  // namespace moesim::gpu
