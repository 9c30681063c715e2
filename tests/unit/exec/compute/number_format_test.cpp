#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "exec/compute/bf16.hpp"
#include "exec/compute/cpu/fast_exp.hpp"

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
