// Arithmetic of reductions on raw storage.
//
// BF16 is the upper half of an FP32 number; from FP32 it is rounded to nearest, ties to even. Storage needs no alignment. The
// larger of two numbers with a NaN among them is NaN. Example: 1.0f + 2^-8 + 2^-9 = 1.005859375 rounds to 1.0078125.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include "exec/comm/communicator.hpp"

namespace moesim {

using Bf16Bits = std::uint16_t;

[[nodiscard]] constexpr float bf16_to_float(Bf16Bits bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}
[[nodiscard]] constexpr Bf16Bits bf16_from_float(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<Bf16Bits>((bits >> 16) | 0x40u);  // NaN stays NaN
  return static_cast<Bf16Bits>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

// Which operand stands first. A sum of two is the same either way but for the payload of NaNs, and -0 equals +0; with a fixed
// order both partners of an exchange get the same bits even then.
enum class OperandOrder : std::uint8_t { kIntoFirst, kFromFirst };

// into = into (+) from, element by element; both spans have the same whole number of elements.
void reduce_into(Reduction how, OperandOrder order, std::span<std::byte> into, std::span<const std::byte> from);

// BF16 storage to FP32 storage and back; the wide span has twice the bytes.
void widen(std::span<std::byte> wide, std::span<const std::byte> narrow);
void narrow(std::span<std::byte> narrow, std::span<const std::byte> wide);

}  // namespace moesim
