// RMSNorm over the first weight.columns columns of each row, and its gradient (layer_args.hpp). Shapes have been checked.
#pragma once

#include "exec/cuda/kernels/operand.hpp"

namespace moesim::gpu {

void norm(Stream stream, const Operand& x, const Operand& weight, const Operand& y, float epsilon);

// `gw` may be absent. `partials`, needed with it: norm_grad_parts(rows) rows of weight.columns numbers of scratch.
constexpr int kMostNormGradParts = 264;  // two blocks for each of an H100's multiprocessors
[[nodiscard]] std::int64_t norm_grad_parts(std::int64_t rows);
void norm_grad(Stream stream, const Operand& gy, const Operand& x, const Operand& weight, const Operand& gx,
               const Operand& gw, float* partials, float epsilon);

// total [1, columns] += the rows of `partials`, the first row first.
void add_rows(Stream stream, const float* partials, std::int64_t rows, std::int64_t row_stride, const Operand& total);

}  // namespace moesim::gpu
