#include "exec/cuda/kernels/fp8_rows.hpp"

#include "exec/cuda/kernels/device.cuh"

namespace moesim::gpu {
namespace {

constexpr float kLargestFp8 = 448.0F;
constexpr float kSmallestNormal = 1.17549435e-38F;
constexpr int kOfLane = kScaledColumns / kWarpThreads;  // columns

// As float_to_fp8 in exec/compute/fp8.hpp. The product with 512 is exact, so that it may be fused with the sum.
__device__ inline std::uint8_t to_code(float value) {
  const std::uint32_t bits = __float_as_uint(value);
  const std::uint32_t sign = bits >> 24 & 0x80U;
  const std::uint32_t size = bits & 0x7FFFFFFFU;
  std::uint32_t code;
  if (size > 0x7F800000U)
    code = 0x7FU;
  else if (size >= 0x43E00000U)  // 448
    code = 0x7EU;
  else if (size < 0x3C800000U)  // 2^-6
    code = __float_as_uint(__uint_as_float(size) * 512.0F + 8388608.0F) - 0x4B000000U;
  else
    code = ((size + 0x7FFFFU + (size >> 20 & 1U)) >> 20) - (120U << 3);
  return static_cast<std::uint8_t>(sign | code);
}

__device__ inline float from_code(std::uint8_t code) {
  const std::uint32_t sign = static_cast<std::uint32_t>(code & 0x80U) << 24;
  const std::uint32_t size = code & 0x7FU;
  if (size == 0x7FU) return __uint_as_float(sign | 0x7FC00000U);
  if (size < 8U) {
    const float number = static_cast<float>(size) / 512.0F;
    return sign != 0 ? -number : number;
  }
  return __uint_as_float(sign | ((size + (120U << 3)) << 20));
}

// A warp to the columns of one scale.
__global__ void to_fp8_kernel(Operand x, Operand y, Operand scales) {
  const std::int64_t items = scales.rows * scales.columns;
  for (std::int64_t item = first_item(); item < items; item += items_at_once()) {
    const std::int64_t row = item / scales.columns;
    const std::int64_t group = item % scales.columns;
    float values[kOfLane];
    float most = 0.0F;
#pragma unroll
    for (int i = 0; i < kOfLane; ++i) {
      const std::int64_t column = group * kScaledColumns + i * kWarpThreads + lane_of_warp();
      values[i] = column < x.columns ? load_one(x, row, column) : 0.0F;
      most = fmaxf(most, fabsf(values[i]));
    }
    most = warp_reduce(most, Largest());
    float scale = most / kLargestFp8;
    if (scale < kSmallestNormal) scale = 1.0F;
#pragma unroll
    for (int i = 0; i < kOfLane; ++i) {
      const std::int64_t column = group * kScaledColumns + i * kWarpThreads + lane_of_warp();
      if (column < x.columns) static_cast<std::uint8_t*>(y.data)[row * y.stride + column] = to_code(values[i] / scale);
    }
    if (lane_of_warp() == 0) fp32_at(scales, row, group) = scale;
  }
}

__global__ void from_fp8_kernel(Operand x, Operand scales, Operand y) {
  for (std::int64_t row = blockIdx.y; row < y.rows; row += gridDim.y)
    for (std::int64_t column = thread_of_row(); column < y.columns; column += threads_of_row()) {
      const std::uint8_t code = static_cast<const std::uint8_t*>(x.data)[row * x.stride + column];
      store_one(y, row, column, from_code(code) * fp32_at(scales, row, column / kScaledColumns));
    }
}

}  // namespace

void to_fp8(Stream stream, const Operand& x, const Operand& y, const Operand& scales) {
  launch(to_fp8_kernel, warp_per_item(scales.rows * scales.columns), stream, x, y, scales);
}

void from_fp8(Stream stream, const Operand& x, const Operand& scales, const Operand& y) {
  launch(from_fp8_kernel, over_elements(y.rows, y.columns, 1), stream, x, scales, y);
}

}  // namespace moesim::gpu
