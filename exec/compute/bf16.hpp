// BF16 is the upper half of FP32's bits: 8 bits of exponent, 7 of fraction. It is a storage format here; sums are FP32.
#pragma once

#include <bit>
#include <cstdint>

namespace moesim {

[[nodiscard]] constexpr float bf16_to_float(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

// Nearest, ties to even: 1 + 2^-8 lies halfway between 1 and 1 + 2^-7 and becomes 1. Not-a-number stays one.
[[nodiscard]] constexpr std::uint16_t float_to_bf16(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t rounded = bits + 0x7FFFU + ((bits >> 16) & 1U);
  const std::uint32_t quiet = bits | 0x400000U;  // rounding could carry a NaN's fraction over into infinity or -0
  return static_cast<std::uint16_t>(((bits & 0x7FFFFFFFU) > 0x7F800000U ? quiet : rounded) >> 16);
}

}  // namespace moesim
