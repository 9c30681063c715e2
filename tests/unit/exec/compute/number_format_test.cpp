#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "exec/compute/bf16.hpp"
#include "exec/compute/cpu/fast_exp.hpp"
#include "exec/compute/fp8.hpp"

namespace moesim {
namespace {

float rounded(float x) { return bf16_to_float(float_to_bf16(x)); }

TEST(Bf16Test, RoundsToNearestAndTiesToEven) {
  // Numbers next to 1 are 1 + 2^-7 and 1 + 2 * 2^-7.
  const float step = 0.0078125F;
  EXPECT_EQ(rounded(1.0F + step), 1.0F + step);
  EXPECT_EQ(rounded(1.0F + 0.5F * step), 1.0F);             // tie: the even one is below
  EXPECT_EQ(rounded(1.0F + 1.5F * step), 1.0F + 2 * step);  // tie: the even one is above
  EXPECT_EQ(rounded(1.0F + 0.5078125F * step), 1.0F + step);
  EXPECT_EQ(rounded(-1.0F - 1.5F * step), -1.0F - 2 * step);
}

TEST(Bf16Test, KeepsSpecialValues) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(rounded(infinity), infinity);
  EXPECT_EQ(rounded(-infinity), -infinity);
  EXPECT_TRUE(std::signbit(rounded(-0.0F)));
  EXPECT_EQ(rounded(std::numeric_limits<float>::max()), infinity);  // nearer to 2^128 than to the largest BF16 number
  EXPECT_TRUE(std::isnan(rounded(std::numeric_limits<float>::quiet_NaN())));
  EXPECT_TRUE(std::isnan(rounded(std::bit_cast<float>(0x7F800001U))));  // all its fraction is in the half cut off
  EXPECT_TRUE(std::isnan(rounded(std::bit_cast<float>(0xFFFFFFFFU))));
  EXPECT_TRUE(std::signbit(rounded(std::bit_cast<float>(0xFFFFFFFFU))));
}

TEST(Bf16Test, EveryNumberComesBackAsItself) {
  for (std::uint32_t bits = 0; bits < 0x10000U; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    if (!std::isnan(bf16_to_float(half))) {
      ASSERT_EQ(float_to_bf16(bf16_to_float(half)), half);
    }
  }
}

TEST(Fp8Test, RoundsToNearestAndTiesToEven) {
  const auto to_fp8_and_back = [](float x) { return fp8_to_float(float_to_fp8(x)); };
  EXPECT_EQ(float_to_fp8(1.0F), 0x38);
  EXPECT_EQ(to_fp8_and_back(1.0625F), 1.0F);   // tie: the even one is below
  EXPECT_EQ(to_fp8_and_back(1.1875F), 1.25F);  // tie: above
  EXPECT_EQ(to_fp8_and_back(1.07F), 1.125F);
  EXPECT_EQ(to_fp8_and_back(-1.97F), -2.0F);               // the fraction is carried over
  EXPECT_EQ(to_fp8_and_back(0.00390625F), 0.00390625F);    // 2 * 2^-9
  EXPECT_EQ(to_fp8_and_back(0.0009765625F), 0.0F);         // half the smallest: tie
  EXPECT_EQ(to_fp8_and_back(0.0029296875F), 0.00390625F);  // 1.5 of it: tie
  EXPECT_EQ(float_to_fp8(0.0156F), 0x08);                  // the smallest normal, from below
  EXPECT_EQ(to_fp8_and_back(1e-40F), 0.0F);
  EXPECT_TRUE(std::signbit(to_fp8_and_back(-0.0F)));
}

TEST(Fp8Test, SaturatesAndKeepsNotANumber) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float large : {448.0F, 464.0F, 480.0F, 1e30F, infinity}) {
    EXPECT_EQ(fp8_to_float(float_to_fp8(large)), 448.0F);
    EXPECT_EQ(fp8_to_float(float_to_fp8(-large)), -448.0F);
  }
  EXPECT_TRUE(std::isnan(fp8_to_float(float_to_fp8(std::numeric_limits<float>::quiet_NaN()))));
  EXPECT_TRUE(std::isnan(fp8_to_float(float_to_fp8(std::bit_cast<float>(0x7F800001U)))));
  EXPECT_TRUE(std::isnan(fp8_to_float(0x7F)));
}

TEST(Fp8Test, EveryNumberComesBackAsItselfAndWhatIsBetweenIsNextToIt) {
  for (int code = 0; code < 0x7E; ++code) {
    const float low = fp8_to_float(static_cast<std::uint8_t>(code));
    const float high = fp8_to_float(static_cast<std::uint8_t>(code + 1));
    ASSERT_LT(low, high);
    ASSERT_EQ(float_to_fp8(low), code);
    ASSERT_EQ(float_to_fp8(-low), code | 0x80);
    const float middle = (low + high) / 2;  // exact
    ASSERT_EQ(float_to_fp8(middle), code % 2 == 0 ? code : code + 1);
    ASSERT_EQ(float_to_fp8(std::nextafter(middle, 0.0F)), code);
    ASSERT_EQ(float_to_fp8(std::nextafter(middle, 1e9F)), code + 1);
  }
}

TEST(FastExpTest, RelativeErrorStaysBelowTwoInTenMillion) {
  double worst = 0.0;
  for (int i = -870000; i <= 883000; ++i) {
    const float x = static_cast<float>(i) * 1e-4F;
    if (x < -87.0F || x > 88.3F) continue;
    const double exact = std::exp(static_cast<double>(x));
    worst = std::max(worst, std::abs(static_cast<double>(fast_exp(x)) - exact) / exact);
  }
  EXPECT_LT(worst, 2e-7);
}

TEST(FastExpTest, EndsAreZeroAndInfinity) {
  EXPECT_EQ(fast_exp(0.0F), 1.0F);
  EXPECT_EQ(fast_exp(-87.5F), 0.0F);
  EXPECT_EQ(fast_exp(-std::numeric_limits<float>::infinity()), 0.0F);
  EXPECT_EQ(fast_exp(1000.0F), std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(fast_exp(std::numeric_limits<float>::quiet_NaN())));
}

}  // namespace
}  // namespace moesim
