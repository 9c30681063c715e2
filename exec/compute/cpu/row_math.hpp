// Sums, maxima and exponentials over a row. Eight lanes each, which compilers turn into vector instructions, and which lose
// less than one long sum; the order is fixed, so results repeat.
#pragma once

#include <cstdint>

namespace moesim {

[[nodiscard]] float dot(const float* a, const float* b, std::int64_t count);
[[nodiscard]] float sum_of(const float* x, std::int64_t count);
[[nodiscard]] float largest_of(const float* x, std::int64_t count);  // -infinity of none; a NaN does not count

// out = exp(x - shift); out may be x.
void exp_row(const float* x, std::int64_t count, float shift, float* out);
[[nodiscard]] float sum_exp(const float* x, std::int64_t count, float shift);

// x becomes its softmax; returns the logarithm of the sum of exponentials. A row of -infinity becomes zeros.
float softmax_row(float* x, std::int64_t count);

}  // namespace moesim
