// Rows to FP8 (E4M3) with an FP32 scale for each row and 128 columns, and back. Shapes have been checked. The numbers are those of
// exec/compute/fp8.hpp, bit by bit.
#pragma once

#include "exec/cuda/kernels/operand.hpp"

namespace moesim::gpu {

constexpr int kScaledColumns = 128;

void to_fp8(Stream stream, const Operand& x, const Operand& y, const Operand& scales);
void from_fp8(Stream stream, const Operand& x, const Operand& scales, const Operand& y);

}  // namespace moesim::gpu
