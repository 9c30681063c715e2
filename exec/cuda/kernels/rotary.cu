#include "exec/cuda/kernels/rotary.hpp"

#include "exec/cuda/kernels/device.cuh"
#include "exec/cuda/kernels/norm.hpp"

namespace moesim::gpu {
namespace {

constexpr std::int64_t kMostParts = 264;  // two blocks for each of an H100's multiprocessors

// What the columns of one row need: a block works on a row at a time.
struct RowFactors {
  float cosines[kMostRotaryPairs], sines[kMostRotaryPairs];
  // By segment, the run of columns that is normalised together; q's first. `along` is of the gradient.
  float inverse[kMostNormedHeads], along[kMostNormedHeads];
};

// Segments of one kind of heads.
struct Segments {
  Operand weight;  // absent: no norm
  std::int64_t first_column, count, first_index;
  __device__ std::int64_t width() const { return weight.columns; }
};

__device__ std::int64_t segment_count(const Operand& weight, std::int64_t columns) {
  return weight.data == nullptr || weight.columns == 0 ? 0 : columns / weight.columns;
}
__device__ Segments segments_of_q(const Rotary& s) {
  return {s.q_norm, 0, segment_count(s.q_norm, s.q_heads * s.head_dim), 0};
}
__device__ Segments segments_of_k(const Rotary& s) {
  return {s.k_norm, s.q_heads * s.head_dim, segment_count(s.k_norm, s.k_heads * s.head_dim), segments_of_q(s).count};
}

// Angles in double: at position 100 000 FP32 would be off by 0.005.
__device__ void set_angles(const Rotary& s, std::int32_t position, RowFactors& factors) {
  for (std::int64_t i = threadIdx.x; i < s.rotary_dim / 2; i += blockDim.x) {
    const double frequency = pow(s.theta, -2.0 * static_cast<double>(i) / static_cast<double>(s.rotary_dim));
    const double angle = static_cast<double>(position) * frequency;
    factors.cosines[i] = static_cast<float>(cos(angle));
    factors.sines[i] = static_cast<float>(sin(angle));
  }
}

// A warp to a segment.
__device__ void set_inverses(const Rotary& s, const Segments& segments, const Operand& x, std::int64_t row,
                             RowFactors& factors) {
  const std::int64_t width = segments.width();
  for (std::int64_t n = threadIdx.x / kWarpThreads; n < segments.count; n += blockDim.x / kWarpThreads) {
    float squares = 0.0F;
    for (std::int64_t i = lane_of_warp(); i < width; i += kWarpThreads) {
      const float value = load_one(x, row, segments.first_column + n * width + i);
      squares += value * value;
    }
    squares = warp_reduce(squares, Sum());
    if (lane_of_warp() == 0)
      factors.inverse[segments.first_index + n] = 1.0F / sqrtf(squares / static_cast<float>(width) + s.epsilon);
  }
}

// The segment and the weight of a column of a head; -1: none.
struct Place {
  std::int64_t segment, weight;
};
__device__ Place place_of(const Segments& segments, std::int64_t column) {
  if (segments.count == 0) return {-1, 0};
  const std::int64_t within = column - segments.first_column;
  return {segments.first_index + within / segments.width(), within % segments.width()};
}

__device__ float normalised(const Segments& segments, const Operand& x, std::int64_t row, std::int64_t column,
                            const RowFactors& factors) {
  const float value = load_one(x, row, column);
  const Place place = place_of(segments, column);
  return place.segment < 0 ? value
                           : value * factors.inverse[place.segment] * load_one(segments.weight, 0, place.weight);
}

__global__ void rotary_kernel(Rotary s, Operand x, Operand y) {
  __shared__ RowFactors factors;
  const std::int64_t half = s.rotary_dim / 2;
  const std::int64_t of_heads = (s.q_heads + s.k_heads) * s.head_dim;
  const Segments of_q = segments_of_q(s);
  const Segments of_k = segments_of_k(s);
  for (std::int64_t row = blockIdx.x; row < y.rows; row += gridDim.x) {
    __syncthreads();  // the row before has been written
    set_angles(s, s.positions[row], factors);
    set_inverses(s, of_q, x, row, factors);
    set_inverses(s, of_k, x, row, factors);
    __syncthreads();
    for (std::int64_t c = threadIdx.x; c < y.columns; c += blockDim.x) {
      if (c >= of_heads) {
        store_one(y, row, c, load_one(x, row, c));
        continue;
      }
      const Segments& segments = c < s.q_heads * s.head_dim ? of_q : of_k;
      const std::int64_t at = c % s.head_dim;
      const float own = normalised(segments, x, row, c, factors);
      if (at >= s.rotary_dim) {
        store_one(y, row, c, own);
      } else if (at < half) {
        const float partner = normalised(segments, x, row, c + half, factors);
        store_one(y, row, c, own * factors.cosines[at] - partner * factors.sines[at]);
      } else {
        const float partner = normalised(segments, x, row, c - half, factors);
        store_one(y, row, c, own * factors.cosines[at - half] + partner * factors.sines[at - half]);
      }
    }
  }
}

// The gradient of a column of a head before its rotation: turned back.
__device__ float turned_back(const Rotary& s, const Operand& gy, std::int64_t row, std::int64_t column,
                             const RowFactors& factors) {
  const std::int64_t half = s.rotary_dim / 2;
  const std::int64_t at = column % s.head_dim;
  const float own = load_one(gy, row, column);
  if (at >= s.rotary_dim) return own;
  if (at < half) return own * factors.cosines[at] + load_one(gy, row, column + half) * factors.sines[at];
  return own * factors.cosines[at - half] - load_one(gy, row, column - half) * factors.sines[at - half];
}

// sum(g w x) i^3 / n of each segment (rms_norm.hpp), a warp to a segment.
__device__ void set_alongs(const Rotary& s, const Segments& segments, const Operand& gy, const Operand& x,
                           std::int64_t row, RowFactors& factors) {
  const std::int64_t width = segments.width();
  for (std::int64_t n = threadIdx.x / kWarpThreads; n < segments.count; n += blockDim.x / kWarpThreads) {
    float sum = 0.0F;
    for (std::int64_t i = lane_of_warp(); i < width; i += kWarpThreads) {
      const std::int64_t column = segments.first_column + n * width + i;
      sum += turned_back(s, gy, row, column, factors) * load_one(segments.weight, 0, i) * load_one(x, row, column);
    }
    sum = warp_reduce(sum, Sum());
    const float inverse = factors.inverse[segments.first_index + n];
    if (lane_of_warp() == 0)
      factors.along[segments.first_index + n] = sum * inverse * inverse * inverse / static_cast<float>(width);
  }
}

// Adds the row's part of the gradient of a norm's weight to this block's sums.
__device__ void add_weight_gradient(const Rotary& s, const Segments& segments, const Operand& gy, const Operand& x,
                                    std::int64_t row, const RowFactors& factors, float* sums) {
  if (segments.count == 0) return;
  for (std::int64_t w = threadIdx.x; w < segments.width(); w += blockDim.x) {
    float sum = 0.0F;
    for (std::int64_t n = 0; n < segments.count; ++n) {
      const std::int64_t column = segments.first_column + n * segments.width() + w;
      sum += turned_back(s, gy, row, column, factors) * load_one(x, row, column) *
             factors.inverse[segments.first_index + n];
    }
    sums[w] += sum;
  }
}

__global__ void rotary_grad_kernel(Rotary s, Operand gy, Operand x, Operand gx, float* partials) {
  __shared__ RowFactors factors;
  const std::int64_t of_heads = (s.q_heads + s.k_heads) * s.head_dim;
  const Segments of_q = segments_of_q(s);
  const Segments of_k = segments_of_k(s);
  const std::int64_t q_width = of_q.count == 0 ? 0 : of_q.width();
  const std::int64_t k_width = of_k.count == 0 ? 0 : of_k.width();
  float* own = partials == nullptr ? nullptr : partials + blockIdx.x * (q_width + k_width);
  if (own != nullptr) {
    for (std::int64_t w = threadIdx.x; w < q_width; w += blockDim.x) own[w] = 0.0F;  // the thread that adds to it
    for (std::int64_t w = threadIdx.x; w < k_width; w += blockDim.x) own[q_width + w] = 0.0F;
  }
  for (std::int64_t row = blockIdx.x; row < gx.rows; row += gridDim.x) {
    __syncthreads();  // the row before has been written
    set_angles(s, s.positions[row], factors);
    set_inverses(s, of_q, x, row, factors);
    set_inverses(s, of_k, x, row, factors);
    __syncthreads();
    set_alongs(s, of_q, gy, x, row, factors);
    set_alongs(s, of_k, gy, x, row, factors);
    __syncthreads();
    for (std::int64_t c = threadIdx.x; c < gx.columns; c += blockDim.x) {
      if (c >= of_heads) {
        store_one(gx, row, c, load_one(gy, row, c));
        continue;
      }
      const Segments& segments = c < s.q_heads * s.head_dim ? of_q : of_k;
      const Place place = place_of(segments, c);
      float g = turned_back(s, gy, row, c, factors);
      if (place.segment >= 0)
        g = g * load_one(segments.weight, 0, place.weight) * factors.inverse[place.segment] -
            load_one(x, row, c) * factors.along[place.segment];
      store_one(gx, row, c, g);
    }
    if (own == nullptr) continue;  // the same for all threads
    add_weight_gradient(s, of_q, gy, x, row, factors, own);
    add_weight_gradient(s, of_k, gy, x, row, factors, own + q_width);
  }
}

}  // namespace

void rotary(Stream stream, const Rotary& shape, const Operand& x, const Operand& y) {
  launch(rotary_kernel, block_per_row(y.rows, y.columns, 1), stream, shape, x, y);
}

std::int64_t rotary_grad_parts(std::int64_t rows) { return blocks(rows, kMostParts); }

void rotary_grad(Stream stream, const Rotary& shape, const Operand& gy, const Operand& x, const Operand& gx,
                 const Operand& gq_norm, const Operand& gk_norm, float* partials) {
  const bool weights = gq_norm.data != nullptr || gk_norm.data != nullptr;
  Geometry geometry = block_per_row(gx.rows, gx.columns, 1);
  if (weights) geometry.x = static_cast<unsigned>(rotary_grad_parts(gx.rows));
  float* sums = weights ? partials : nullptr;
  launch(rotary_grad_kernel, geometry, stream, shape, gy, x, gx, sums);
  const std::int64_t q_width = shape.q_norm.data == nullptr || shape.q_heads == 0 ? 0 : shape.q_norm.columns;
  const std::int64_t k_width = shape.k_norm.data == nullptr || shape.k_heads == 0 ? 0 : shape.k_norm.columns;
  if (gq_norm.data != nullptr && q_width > 0) add_rows(stream, sums, geometry.x, q_width + k_width, gq_norm);
  if (gk_norm.data != nullptr && k_width > 0) add_rows(stream, sums + q_width, geometry.x, q_width + k_width, gk_norm);
}

}  // namespace moesim::gpu
