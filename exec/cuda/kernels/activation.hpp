// SwiGLU, SiLU and GELU with a weight for each row, and their gradients (layer_args.hpp). Shapes have been checked.
#pragma once

#include "exec/cuda/kernels/operand.hpp"

namespace moesim::gpu {

enum class Activation : std::uint8_t { kSwiGlu, kSilu, kGelu };

void activation(Stream stream, Activation kind, const Operand& x, const Operand& row_weights, const Operand& y);
void activation_grad(Stream stream, Activation kind, const Operand& gy, const Operand& x, const Operand& row_weights,
                     const Operand& gx, const Operand& g_row_weights);

}  // namespace moesim::gpu
