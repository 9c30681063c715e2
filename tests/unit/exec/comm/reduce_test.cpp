#include "exec/comm/reduce.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

namespace moesim {
namespace {

TEST(Bf16, RoundsToNearestTiesToEven) {
  EXPECT_EQ(bf16_from_float(1.0f), 0x3f80);
  EXPECT_EQ(bf16_from_float(1.0f + 0x1p-8f), 0x3f80);             // a tie; 0x3f80 is even
  EXPECT_EQ(bf16_from_float(1.0f + 3 * 0x1p-8f), 0x3f82);         // a tie; 0x3f81 is odd
  EXPECT_EQ(bf16_from_float(1.0f + 0x1p-8f + 0x1p-20f), 0x3f81);  // more than a tie
  EXPECT_EQ(bf16_from_float(-2.5f), 0xc020);
  EXPECT_EQ(bf16_from_float(std::numeric_limits<float>::max()), 0x7f80);  // infinity
  EXPECT_TRUE(std::isnan(bf16_to_float(bf16_from_float(std::bit_cast<float>(0x7f800001u)))));
  EXPECT_EQ(bf16_to_float(0xc020), -2.5f);
}

TEST(Bf16, EveryValueComesBack) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = bf16_to_float(static_cast<Bf16Bits>(bits));
    if (std::isnan(value)) continue;
    ASSERT_EQ(bf16_from_float(value), bits);
  }
}

float reduced(ReduceKind kind, float a, float b) {
  reduce_into({DType::kFp32, kind}, OperandOrder::kIntoFirst, std::as_writable_bytes(std::span(&a, 1)),
              std::as_bytes(std::span(&b, 1)));
  return a;
}

TEST(Reduce, MaxOfANumberAndNoNumberIsNone) {
  EXPECT_EQ(reduced(ReduceKind::kMax, -3, -5), -3);
  EXPECT_EQ(reduced(ReduceKind::kMax, 1, std::numeric_limits<float>::infinity()),
            std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(reduced(ReduceKind::kMax, std::nanf(""), 1)));
  EXPECT_TRUE(std::isnan(reduced(ReduceKind::kMax, 1, std::nanf(""))));
}

TEST(Reduce, AddsBf16InFp32AndRoundsOnce) {
  // 256 + 1.0: BF16 has steps of 2 there, and the tie goes to the even 256. 257.5 is nearer to 258.
  std::vector<Bf16Bits> into{bf16_from_float(256), bf16_from_float(256)};
  const std::vector<Bf16Bits> from{bf16_from_float(1), bf16_from_float(1.5f)};
  reduce_into({DType::kBf16, ReduceKind::kSum}, OperandOrder::kFromFirst, std::as_writable_bytes(std::span(into)),
              std::as_bytes(std::span(from)));
  EXPECT_EQ(bf16_to_float(into[0]), 256);
  EXPECT_EQ(bf16_to_float(into[1]), 258);
}

TEST(Reduce, OrderDecidesWhereOperandsDiffer) {
  // -0 and +0 are equal, so the first stays.
  for (const OperandOrder order : {OperandOrder::kIntoFirst, OperandOrder::kFromFirst}) {
    float into = -0.0f;
    const float from = 0.0f;
    reduce_into({DType::kFp32, ReduceKind::kMax}, order, std::as_writable_bytes(std::span(&into, 1)),
                std::as_bytes(std::span(&from, 1)));
    EXPECT_EQ(std::signbit(into), order == OperandOrder::kIntoFirst);
  }
}

TEST(Reduce, NeedsNoAlignment) {
  std::vector<std::byte> into(9), from(9);
  const float values[] = {1, 2, 3};
  std::memcpy(into.data() + 1, values, 8);
  std::memcpy(from.data() + 1, values + 1, 8);
  reduce_into({DType::kFp32, ReduceKind::kSum}, OperandOrder::kIntoFirst, std::span(into).subspan(1),
              std::span<const std::byte>(from).subspan(1));
  float sums[2];
  std::memcpy(sums, into.data() + 1, 8);
  EXPECT_EQ(sums[0], 3);
  EXPECT_EQ(sums[1], 5);
}

}  // namespace
}  // namespace moesim
