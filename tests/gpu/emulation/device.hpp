// CUDA's execution model on the host, so that kernels run, thread by thread, where there is no GPU.
//
// A block's threads are fibers of the thread that runs the block. A fiber runs until it has to wait for others, at a barrier or
// a shuffle; then the next one's turn comes, forwards in one launch and backwards in the next, so that a barrier left out shows in the
// results. A barrier that not all threads of the block (or warp) reach ends the test. Blocks run one after the other.
// What it cannot show: races within a warp's instructions, memory ordering, speed.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>

#include <vector_functions.h>
#include <vector_types.h>

#undef __device__
#undef __host__
#undef __global__
#undef __shared__
#undef __launch_bounds__
#define __device__
#define __host__
#define __global__
#define __shared__ static thread_local
#define __launch_bounds__(...)

namespace moesim::emulation {

struct Index {
  unsigned x = 0, y = 0, z = 0;
};
struct Place {
  Index thread, block, block_size, grid_size;
};
inline thread_local Place here;

// Puts a grid on a stream of the emulated runtime; it runs when the stream is waited for.
void launch(unsigned blocks_x, unsigned blocks_y, unsigned threads, void* stream, std::function<void()> thread);

void sync_block();
void sync_warp();
[[nodiscard]] std::uint64_t exchange(std::uint64_t own, int from_lane);  // within the warp
[[nodiscard]] int or_of_block(int own);
[[nodiscard]] unsigned ballot_of_warp(bool own);
[[nodiscard]] int lane();

template <class T>
T shuffle_xor(T value, int mask) {
  static_assert(sizeof(T) <= sizeof(std::uint64_t));
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = exchange(bits, lane() ^ mask);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

}  // namespace moesim::emulation

#define threadIdx (::moesim::emulation::here.thread)
#define blockIdx (::moesim::emulation::here.block)
#define blockDim (::moesim::emulation::here.block_size)
#define gridDim (::moesim::emulation::here.grid_size)

inline void __syncthreads() { moesim::emulation::sync_block(); }
inline int __syncthreads_or(int own) { return moesim::emulation::or_of_block(own); }
inline void __syncwarp() { moesim::emulation::sync_warp(); }
template <class T>
T __shfl_xor_sync(unsigned /*whole warp*/, T value, int mask) {
  return moesim::emulation::shuffle_xor(value, mask);
}
inline unsigned __ballot_sync(unsigned /*whole warp*/, bool own) { return moesim::emulation::ballot_of_warp(own); }
inline int __ffs(int bits) { return __builtin_ffs(bits); }
inline std::int32_t atomicAdd(std::int32_t* to, std::int32_t value) {
  const std::int32_t before = *to;
  *to += value;
  return before;
}
inline float __uint_as_float(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline std::uint32_t __float_as_uint(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}
using std::max;
using std::min;
