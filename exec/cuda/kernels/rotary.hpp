// Norms of heads and rotary positions, and their gradients (layer_args.hpp). Shapes have been checked.
#pragma once

#include "exec/cuda/kernels/operand.hpp"

namespace moesim::gpu {

constexpr std::int64_t kMostRotaryPairs = 1024;  // half of rotary_dim
constexpr std::int64_t kMostNormedHeads = 1024;  // q and k heads together, where there are norms

struct Rotary {
  std::int64_t q_heads = 0;
  std::int64_t k_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t rotary_dim = 0;
  double theta = 10000.0;
  float epsilon = 1e-5F;
  const std::int32_t* positions = nullptr;  // device memory
  Operand q_norm, k_norm;                   // may be absent
};

void rotary(Stream stream, const Rotary& shape, const Operand& x, const Operand& y);

// Gradients of norms may be absent. `partials`, needed with one of them: rotary_grad_parts(rows) rows of q_norm.columns +
// k_norm.columns numbers of scratch. `x` is needed with norms only.
[[nodiscard]] std::int64_t rotary_grad_parts(std::int64_t rows);
void rotary_grad(Stream stream, const Rotary& shape, const Operand& gy, const Operand& x, const Operand& gx,
                 const Operand& gq_norm, const Operand& gk_norm, float* partials);

}  // namespace moesim::gpu
