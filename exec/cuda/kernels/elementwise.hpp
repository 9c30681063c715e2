// Passes over elements: sums, conversions, fills, AdamW, sums of squares. Shapes have been checked.
#pragma once

#include "exec/cuda/kernels/operand.hpp"

namespace moesim::gpu {

void add(Stream stream, const Operand& a, const Operand& b, const Operand& y);  // y may be a or b
void cast(Stream stream, const Operand& x, const Operand& y);
void scale(Stream stream, const Operand& x, float factor);
void fill(Stream stream, const Operand& x, float value);

// *sum += the squares of x. `partials`: kSquareSumParts numbers of scratch.
constexpr int kSquareSumParts = 1024;
void square_sum(Stream stream, const Operand& x, double* partials, double* sum);

struct AdamWStep {
  float rate, beta1, beta2, epsilon, weight_decay;
  float gradient_scale;
  float first_share, second_share;  // 1 / (1 - beta^t)
};
void adamw(Stream stream, const AdamWStep& step, const Operand& gradient, const Operand& master,
           const Operand& first_moment, const Operand& second_moment, const Operand& parameter);

}  // namespace moesim::gpu
