#include "base/unit_parser.hpp"

#include <gmock/gmock.h>

namespace moesim {
namespace {

using ::testing::HasSubstr;

TEST(UnitParser, DecimalAndBinaryPrefixesDiffer) {
  EXPECT_EQ(parse_bytes("80GB")->count(), 80'000'000'000);
  EXPECT_EQ(parse_bytes(" 80 GiB ")->count(), 85'899'345'920);
  EXPECT_EQ(parse_bytes("1.5kB")->count(), 1500);
  EXPECT_EQ(parse_bytes("64B")->count(), 64);
}

TEST(UnitParser, BitsAreNotBytes) {
  EXPECT_DOUBLE_EQ(parse_bytes_per_second("900GB/s")->value(), 900e9);
  EXPECT_DOUBLE_EQ(parse_bytes_per_second("400Gbit/s")->value(), 50e9);
  EXPECT_DOUBLE_EQ(parse_bytes_per_second("400Gbps")->value(), 50e9);
  EXPECT_DOUBLE_EQ(parse_bytes_per_second("1GiB/s")->value(), 1073741824.0);
}

TEST(UnitParser, TimesAndRates) {
  EXPECT_DOUBLE_EQ(parse_seconds("3us")->value(), 3e-6);
  EXPECT_DOUBLE_EQ(parse_seconds("1.5 ms")->value(), 1.5e-3);
  EXPECT_DOUBLE_EQ(parse_flops_per_second("989.4TFLOPS")->value(), 989.4e12);
  EXPECT_DOUBLE_EQ(parse_flops_per_second("1.98 PFLOP/s")->value(), 1.98e15);
}

TEST(UnitParser, ErrorsShowTheAcceptedSpellings) {
  for (const char* bad :
       {"900", "900 Gx/s", "fast", "", "-5GB/s", "inf GB/s", "nan GB/s", "1e400GB/s", "900GB", "1,5GB/s"}) {
    const auto result = parse_bytes_per_second(bad);
    ASSERT_FALSE(result.has_value()) << bad;
    EXPECT_EQ(result.error().kind, ErrorKind::kInvalidInput);
  }
  EXPECT_THAT(parse_bytes_per_second("900").error().what, HasSubstr("has no unit"));
  EXPECT_THAT(parse_bytes_per_second("900").error().hint, HasSubstr("400Gbit/s"));
  EXPECT_FALSE(parse_bytes("99999999TB").has_value());
}

TEST(UnitParser, ClocksAndIntegerRates) {
  EXPECT_EQ(parse_hertz("1830MHz")->value(), 1830e6);
  EXPECT_EQ(parse_hertz("1.5 GHz")->value(), 1.5e9);
  EXPECT_FALSE(parse_hertz("1830"));
  EXPECT_FALSE(parse_hertz("1830GB"));
  EXPECT_EQ(parse_flops_per_second("624TOPS")->value(), 624e12);
}

}  // namespace
}  // namespace moesim
