#include "exec/cuda/kernels/activation.hpp"

#include "exec/cuda/kernels/device.cuh"

namespace moesim::gpu {
namespace {

constexpr float kRootHalf = 0.70710678F;       // 1 / sqrt(2)
constexpr float kNormalDensity = 0.39894228F;  // 1 / sqrt(2 pi)

__device__ float sigmoid(float x) { return 1.0F / (1.0F + expf(-x)); }
__device__ float below(float x) { return 0.5F * (1.0F + erff(x * kRootHalf)); }  // the normal distribution

// f(x) and its derivative; the gate's part of SwiGLU is SiLU.
__device__ float value_of(Activation kind, float x) {
  return kind == Activation::kGelu ? x * below(x) : x * sigmoid(x);
}
__device__ float slope_of(Activation kind, float x) {
  if (kind == Activation::kGelu) return below(x) + x * kNormalDensity * expf(-0.5F * x * x);
  const float s = sigmoid(x);
  return s * (1.0F + x * (1.0F - s));
}

template <int kWidth>
__global__ void activation_kernel(Activation kind, Operand x, Operand row_weights, Operand y) {
  for (std::int64_t row = blockIdx.x; row < y.rows; row += gridDim.x) {
    const float weight = row_weights.data == nullptr ? 1.0F : fp32_at(row_weights, row, 0);
    for (std::int64_t c = threadIdx.x * kWidth; c < y.columns; c += blockDim.x * kWidth) {
      Raw<kWidth> raw_x, raw_up;
      fetch(x, row * x.stride + c, raw_x);
      if (kind == Activation::kSwiGlu) fetch(x, row * x.stride + y.columns + c, raw_up);
      float values[kWidth], up[kWidth];
      widen(x, raw_x, values);
      if (kind == Activation::kSwiGlu) widen(x, raw_up, up);
#pragma unroll
      for (int i = 0; i < kWidth; ++i) {
        values[i] = value_of(kind, values[i]) * weight;
        if (kind == Activation::kSwiGlu) values[i] *= up[i];
      }
      store(y, row * y.stride + c, values);
    }
  }
}

template <int kWidth>
__global__ void activation_grad_kernel(Activation kind, Operand gy, Operand x, Operand row_weights, Operand gx,
                                       Operand g_row_weights) {
  const bool gated = kind == Activation::kSwiGlu;
  for (std::int64_t row = blockIdx.x; row < gy.rows; row += gridDim.x) {
    const float weight = row_weights.data == nullptr ? 1.0F : fp32_at(row_weights, row, 0);
    float along = 0.0F;
    for (std::int64_t c = threadIdx.x * kWidth; c < gy.columns; c += blockDim.x * kWidth) {
      Raw<kWidth> raw_g, raw_x, raw_up;
      fetch(gy, row * gy.stride + c, raw_g);
      fetch(x, row * x.stride + c, raw_x);
      if (gated) fetch(x, row * x.stride + gy.columns + c, raw_up);
      float g[kWidth], values[kWidth], up[kWidth];
      widen(gy, raw_g, g);
      widen(x, raw_x, values);
      if (gated) widen(x, raw_up, up);
#pragma unroll
      for (int i = 0; i < kWidth; ++i) {
        const float value = value_of(kind, values[i]);
        const float slope = slope_of(kind, values[i]);
        const float raised = gated ? up[i] : 1.0F;
        along += g[i] * value * raised;
        values[i] = g[i] * weight * raised * slope;
        up[i] = g[i] * weight * value;
      }
      store(gx, row * gx.stride + c, values);
      if (gated) store(gx, row * gx.stride + gy.columns + c, up);
    }
    if (g_row_weights.data == nullptr) continue;  // the same for all threads
    along = block_reduce(along, 0.0F, Sum());
    if (threadIdx.x == 0) fp32_at(g_row_weights, row, 0) = along;
  }
}

}  // namespace

// Wide rows need halves of whole eights too: half of x's columns are y's.
void activation(Stream stream, Activation kind, const Operand& x, const Operand& row_weights, const Operand& y) {
  if (all_wide({x, y}))
    launch(activation_kernel<kWideColumns>, block_per_row(y.rows, y.columns, kWideColumns), stream, kind, x,
           row_weights, y);
  else
    launch(activation_kernel<1>, block_per_row(y.rows, y.columns, 1), stream, kind, x, row_weights, y);
}

void activation_grad(Stream stream, Activation kind, const Operand& gy, const Operand& x, const Operand& row_weights,
                     const Operand& gx, const Operand& g_row_weights) {
  if (all_wide({gy, x, gx}))
    launch(activation_grad_kernel<kWideColumns>, block_per_row(gy.rows, gy.columns, kWideColumns), stream, kind, gy, x,
           row_weights, gx, g_row_weights);
  else
    launch(activation_grad_kernel<1>, block_per_row(gy.rows, gy.columns, 1), stream, kind, gy, x, row_weights, gx,
           g_row_weights);
}

}  // namespace moesim::gpu
