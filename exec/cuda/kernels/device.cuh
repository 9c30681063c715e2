// What all kernels share: launches, numbers of either format, reductions over warps and blocks.
//
// Kernels keep to a part of CUDA that the emulation of the tests (tests/gpu/emulation) knows too: grids along x and y, static
// shared memory, __syncthreads, __syncwarp, shuffles over whole warps, integer atomics. So every kernel also runs, thread by
// thread, where there is no GPU.
#pragma once

#include <cstdint>

#ifdef MOESIM_EMULATED_CUDA
#include "tests/gpu/emulation/device.hpp"
#endif
#include "exec/cuda/kernels/geometry.hpp"
#include "exec/cuda/kernels/operand.hpp"

namespace moesim::gpu {

// An error of the launch stays with the runtime, where the backend asks for it.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), const Geometry& geometry, Stream stream, const Arguments&... arguments) {
#ifdef MOESIM_EMULATED_CUDA
  emulation::launch(geometry.x, geometry.y, geometry.threads, stream, [=] { kernel(arguments...); });
#else
  // clang-format off
  kernel<<<dim3(geometry.x, geometry.y), geometry.threads, 0, static_cast<cudaStream_t>(stream)>>>(arguments...);
  // clang-format on
#endif
}

// --- numbers

constexpr unsigned kWholeWarp = 0xFFFFFFFFU;

__device__ inline float bf16_to_float(std::uint32_t bits) { return __uint_as_float(bits << 16); }

// Nearest, ties to even.
__device__ inline std::uint32_t float_to_bf16(float value) {
#ifdef __CUDA_ARCH__
  std::uint16_t bits;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
#else
  const std::uint32_t bits = __float_as_uint(value);
  if ((bits & 0x7FFFFFFFU) > 0x7F800000U) return 0x7FFFU;  // what the instruction makes of any NaN
  return (bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16;
#endif
}

// One element, or eight of them by 16-byte accesses. Fetching and widening are apart so that the loads of several operands
// are in flight together.
template <int kWidth>
struct Raw;
template <>
struct Raw<1> {
  std::uint32_t bits;
};
template <>
struct Raw<kWideColumns> {
  uint4 low, high;
};

__device__ inline void fetch(const Operand& m, std::int64_t at, Raw<1>& raw) {
  raw.bits = m.type == Element::kFp32 ? static_cast<const std::uint32_t*>(m.data)[at]
                                      : static_cast<const std::uint16_t*>(m.data)[at];
}
__device__ inline void fetch(const Operand& m, std::int64_t at, Raw<kWideColumns>& raw) {
  if (m.type == Element::kFp32) {
    const uint4* words = reinterpret_cast<const uint4*>(static_cast<const float*>(m.data) + at);
    raw.low = words[0];
    raw.high = words[1];
  } else {
    raw.low = *reinterpret_cast<const uint4*>(static_cast<const std::uint16_t*>(m.data) + at);
    raw.high = raw.low;
  }
}

__device__ inline void widen(const Operand& m, const Raw<1>& raw, float (&values)[1]) {
  values[0] = m.type == Element::kFp32 ? __uint_as_float(raw.bits) : bf16_to_float(raw.bits);
}
__device__ inline void widen(const Operand& m, const Raw<kWideColumns>& raw, float (&values)[kWideColumns]) {
  const std::uint32_t low[4] = {raw.low.x, raw.low.y, raw.low.z, raw.low.w};
  const std::uint32_t high[4] = {raw.high.x, raw.high.y, raw.high.z, raw.high.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if (m.type == Element::kFp32) {
      values[i] = __uint_as_float(low[i]);
      values[4 + i] = __uint_as_float(high[i]);
    } else {
      values[2 * i] = bf16_to_float(low[i] & 0xFFFFU);
      values[2 * i + 1] = bf16_to_float(low[i] >> 16);
    }
  }
}

__device__ inline void store(const Operand& m, std::int64_t at, const float (&values)[1]) {
  if (m.type == Element::kFp32)
    static_cast<float*>(m.data)[at] = values[0];
  else
    static_cast<std::uint16_t*>(m.data)[at] = static_cast<std::uint16_t>(float_to_bf16(values[0]));
}
__device__ inline void store(const Operand& m, std::int64_t at, const float (&values)[kWideColumns]) {
  if (m.type == Element::kFp32) {
    float4* words = reinterpret_cast<float4*>(static_cast<float*>(m.data) + at);
    words[0] = make_float4(values[0], values[1], values[2], values[3]);
    words[1] = make_float4(values[4], values[5], values[6], values[7]);
    return;
  }
  std::uint32_t words[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) words[i] = float_to_bf16(values[2 * i]) | float_to_bf16(values[2 * i + 1]) << 16;
  *reinterpret_cast<uint4*>(static_cast<std::uint16_t*>(m.data) + at) =
      make_uint4(words[0], words[1], words[2], words[3]);
}

// What was fetched from an operand of the same type, bit by bit.
__device__ inline void store_raw(const Operand& m, std::int64_t at, const Raw<1>& raw) {
  if (m.type == Element::kFp32)
    static_cast<std::uint32_t*>(m.data)[at] = raw.bits;
  else
    static_cast<std::uint16_t*>(m.data)[at] = static_cast<std::uint16_t>(raw.bits);
}
__device__ inline void store_raw(const Operand& m, std::int64_t at, const Raw<kWideColumns>& raw) {
  if (m.type == Element::kFp32) {
    uint4* words = reinterpret_cast<uint4*>(static_cast<float*>(m.data) + at);
    words[0] = raw.low;
    words[1] = raw.high;
  } else {
    *reinterpret_cast<uint4*>(static_cast<std::uint16_t*>(m.data) + at) = raw.low;
  }
}

template <int kWidth>
__device__ inline void load(const Operand& m, std::int64_t at, float (&values)[kWidth]) {
  Raw<kWidth> raw;
  fetch(m, at, raw);
  widen(m, raw, values);
}

__device__ inline float load_one(const Operand& m, std::int64_t row, std::int64_t column) {
  float value[1];
  load(m, row * m.stride + column, value);
  return value[0];
}
__device__ inline void store_one(const Operand& m, std::int64_t row, std::int64_t column, float number) {
  const float value[1] = {number};
  store(m, row * m.stride + column, value);
}

// Element (row, column) of an FP32 operand.
__device__ inline float& fp32_at(const Operand& m, std::int64_t row, std::int64_t column) {
  return static_cast<float*>(m.data)[row * m.stride + column];
}

// --- reductions, in the same order on every run

struct Sum {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};
struct Largest {  // a NaN does not count
  __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
};

// Over the `kLanes` neighbours that a lane belongs to; each gets the result. All lanes of the warp must come.
template <int kLanes = kWarpThreads, class T, class Combine>
__device__ inline T warp_reduce(T value, Combine combine) {
#pragma unroll
  for (int apart = kLanes / 2; apart > 0; apart /= 2) value = combine(value, __shfl_xor_sync(kWholeWarp, value, apart));
  return value;
}

// Over a block of whole warps; each thread gets the result. All threads of the block must come.
template <class T, class Combine>
__device__ inline T block_reduce(T value, T neutral, Combine combine) {
  __shared__ T by_warp[kBlockThreads / kWarpThreads];
  const int warp = static_cast<int>(threadIdx.x) / kWarpThreads;
  const int lane = static_cast<int>(threadIdx.x) % kWarpThreads;
  const int warps = static_cast<int>(blockDim.x) / kWarpThreads;
  value = warp_reduce(value, combine);
  __syncthreads();  // an earlier reduction's results have been read
  if (lane == 0) by_warp[warp] = value;
  __syncthreads();
  T all = neutral;
  for (int i = 0; i < warps; ++i) all = combine(all, by_warp[i]);
  return all;
}

// --- places

__device__ inline std::int64_t thread_of_row() {
  return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ inline std::int64_t threads_of_row() { return static_cast<std::int64_t>(gridDim.x) * blockDim.x; }

// The item of a warp_per_item grid, and how many are worked on at once.
__device__ inline std::int64_t first_item() { return thread_of_row() / kWarpThreads; }
__device__ inline std::int64_t items_at_once() { return threads_of_row() / kWarpThreads; }
__device__ inline int lane_of_warp() { return static_cast<int>(threadIdx.x) % kWarpThreads; }

}  // namespace moesim::gpu
