// RMSNorm of one row and its gradient, for norms of tokens and of single heads. With n columns, i = 1 / sqrt(mean(x^2) + e):
//   y = x w i
//   gx = gy w i - x i^3 / n * sum(gy w x),   gw += gy x i
#pragma once

#include <cmath>
#include <cstdint>

#include "exec/compute/cpu/row_math.hpp"

namespace moesim {

[[nodiscard]] inline float inverse_rms(const float* x, std::int64_t n, float epsilon) {
  return 1.0F / std::sqrt(dot(x, x, n) / static_cast<float>(n) + epsilon);
}

// y may be x.
inline void rms_norm_row(const float* x, const float* w, std::int64_t n, float epsilon, float* y) {
  const float inverse = inverse_rms(x, n, epsilon);
  for (std::int64_t i = 0; i < n; ++i) y[i] = x[i] * inverse * w[i];
}

// gx may be gy; gw may be null.
inline void rms_norm_row_grad(const float* gy, const float* x, const float* w, std::int64_t n, float epsilon, float* gx,
                              float* gw) {
  const float inverse = inverse_rms(x, n, epsilon);
  if (gw != nullptr)
    for (std::int64_t i = 0; i < n; ++i) gw[i] += gy[i] * x[i] * inverse;
  for (std::int64_t i = 0; i < n; ++i) gx[i] = gy[i] * w[i];
  const float along = dot(gx, x, n) * inverse * inverse * inverse / static_cast<float>(n);
  for (std::int64_t i = 0; i < n; ++i) gx[i] = gx[i] * inverse - x[i] * along;
}

}  // namespace moesim
