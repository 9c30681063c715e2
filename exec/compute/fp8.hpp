// FP8 in E4M3 (OCP 8-bit floating point, 2023): 4 bits of exponent with bias 7, 3 of fraction, no infinity. Largest 448, smallest
// normal 2^-6, smallest 2^-9. A storage format of rows on the wire; what is computed is FP32.
#pragma once

#include <bit>
#include <cstdint>

namespace moesim {

constexpr float kLargestFp8 = 448.0F;

// Nearest, ties to even; above 448 it is 448. 1.0625 lies halfway between 1 and 1.125 and becomes 1. Not-a-number stays one.
[[nodiscard]] constexpr std::uint8_t float_to_fp8(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = bits >> 24 & 0x80U;
  const std::uint32_t size = bits & 0x7FFFFFFFU;
  std::uint32_t code = 0;
  if (size > 0x7F800000U) {
    code = 0x7FU;
  } else if (size >= 0x43E00000U) {  // 448
    code = 0x7EU;
  } else if (size < 0x3C800000U) {  // 2^-6: multiples of 2^-9, rounded by a sum whose unit that is
    code = std::bit_cast<std::uint32_t>(std::bit_cast<float>(size) * 512.0F + 8388608.0F) - 0x4B000000U;
  } else {
    code = (size + 0x7FFFFU + (size >> 20 & 1U)) / 0x100000U - (120U << 3);
  }
  return static_cast<std::uint8_t>(sign | code);
}

[[nodiscard]] constexpr float fp8_to_float(std::uint8_t code) {
  const std::uint32_t sign = static_cast<std::uint32_t>(code & 0x80U) << 24;
  const std::uint32_t size = code & 0x7FU;
  if (size == 0x7FU) return std::bit_cast<float>(sign | 0x7FC00000U);
  if (size < 8) {
    const float number = static_cast<float>(size) / 512.0F;
    return sign != 0 ? -number : number;
  }
  return std::bit_cast<float>(sign | ((size + (120U << 3)) << 20));
}

// Of numbers whose largest is `most`.
[[nodiscard]] constexpr float fp8_scale(float most) {
  constexpr float kSmallestNormal = 1.17549435e-38F;
  const float scale = most / kLargestFp8;
  return scale < kSmallestNormal ? 1.0F : scale;
}

}  // namespace moesim
