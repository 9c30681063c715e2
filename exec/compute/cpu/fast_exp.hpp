// The exponential without branches or calls, so that loops over it become vector instructions; the library's function is what
// softmax and SwiGLU would otherwise spend their time in.
//
// x = n log 2 + r with whole n and |r| <= log(2) / 2; e^r by its Taylor series to the seventh power, whose remainder is below
// r^8 / 8! < 6e-9, and 2^n by its exponent bits. Relative error below 2e-7 for -87 <= x <= 88.3; 0 below, infinity above.
#pragma once

#include <bit>
#include <cstdint>

namespace moesim {

[[nodiscard]] inline float fast_exp(float x) {
  constexpr float kLog2e = 1.44269504F;
  constexpr float kLog2High = 0.693359375F;  // nine bits, so that n times it is exact
  constexpr float kLog2Low = -2.12194440e-4F;
  constexpr float kRounder = 12582912.0F;  // 1.5 * 2^23: adding it leaves whole numbers in the low bits
  const float below = x < -87.0F ? -87.0F : x;
  const float bounded = below > 88.3F ? 88.3F : below;
  const float shifted = bounded * kLog2e + kRounder;
  const float n = shifted - kRounder;
  const float r = (bounded - n * kLog2High) - n * kLog2Low;
  float e = 1.0F / 5040.0F;
  e = e * r + 1.0F / 720.0F;
  e = e * r + 1.0F / 120.0F;
  e = e * r + 1.0F / 24.0F;
  e = e * r + 1.0F / 6.0F;
  e = e * r + 0.5F;
  e = e * r + 1.0F;
  e = e * r + 1.0F;
  const std::uint32_t exponent = (std::bit_cast<std::uint32_t>(shifted) - std::bit_cast<std::uint32_t>(kRounder) + 127U)
                                 << 23;
  const float result = e * std::bit_cast<float>(exponent);
  const float above_zero = x < -87.0F ? 0.0F : result;
  return x > 88.3F ? std::bit_cast<float>(0x7F800000U) : above_zero;
}

}  // namespace moesim
