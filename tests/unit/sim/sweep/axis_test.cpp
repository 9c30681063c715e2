#include "sim/sweep/axis.hpp"

#include <gtest/gtest.h>

namespace moesim {
namespace {

using Integers = std::vector<std::int64_t>;

Integers integers(std::string_view text) {
  const auto values = parse_integer_axis(text, 0, 1'000'000);
  EXPECT_TRUE(values.has_value()) << text << ": " << values.error().what;
  return values.value_or(Integers{});
}

std::string integer_error(std::string_view text) {
  const auto values = parse_integer_axis(text, 1, 1'000'000);
  EXPECT_FALSE(values.has_value()) << text;
  return values ? "" : values.error().what;
}

TEST(Axis, ListsKeepTheirOrder) {
  EXPECT_EQ(integers("1,2,4,8"), (Integers{1, 2, 4, 8}));
  EXPECT_EQ(integers(" 8 , 1"), (Integers{8, 1}));
  EXPECT_EQ(integers("0"), (Integers{0}));
}

TEST(Axis, FactorsEndAtOrBelowTheLimit) {
  EXPECT_EQ(integers("8:64:x2"), (Integers{8, 16, 32, 64}));
  EXPECT_EQ(integers("8:63:x2"), (Integers{8, 16, 32}));
  EXPECT_EQ(integers("3:100:x3"), (Integers{3, 9, 27, 81}));
  EXPECT_EQ(integers("5:5:x2"), (Integers{5}));
}

TEST(Axis, SumsEndAtOrBelowTheLimit) {
  EXPECT_EQ(integers("1:4:+1"), (Integers{1, 2, 3, 4}));
  EXPECT_EQ(integers("1:8:+3"), (Integers{1, 4, 7}));
  EXPECT_EQ(integers("0:4:+2"), (Integers{0, 2, 4}));
}

TEST(Axis, ListsMayHoldRanges) { EXPECT_EQ(integers("1,8:32:x2,5:6:+1"), (Integers{1, 8, 16, 32, 5, 6})); }

TEST(Axis, SaysWhatIsWrong) {
  EXPECT_EQ(integer_error(""), "an axis needs at least one value");
  EXPECT_EQ(integer_error("1,,2"), "'' in '' is no whole number");
  EXPECT_EQ(integer_error("1,two"), "'two' in 'two' is no whole number");
  EXPECT_EQ(integer_error("1.5"), "'1.5' in '1.5' is no whole number");
  EXPECT_EQ(integer_error("0"), "0 is outside 1 to 1000000");
  EXPECT_EQ(integer_error("99999999999999999999"),
            "'99999999999999999999' in '99999999999999999999' is no whole number");
  EXPECT_EQ(integer_error("1:4"), "'1:4' is neither a number nor a range START:END:STEP");
  EXPECT_EQ(integer_error("1:4:2"), "the step '2' of '1:4:2' is neither xN nor +N");
  EXPECT_EQ(integer_error("1:4:x"), "the step 'x' of '1:4:x' is neither xN nor +N");
  EXPECT_EQ(integer_error("1:4:*2"), "the step '*2' of '1:4:*2' is neither xN nor +N");
  EXPECT_EQ(integer_error("4:1:+1"), "the range '4:1:+1' ends before it starts");
  EXPECT_EQ(integer_error("1:4:x1"), "the factor of '1:4:x1' must be larger than 1");
  EXPECT_EQ(integer_error("1:4:+0"), "the step of '1:4:+0' must be larger than 0");
  EXPECT_EQ(integer_error("1:4:+-1"), "the step of '1:4:+-1' must be larger than 0");
  EXPECT_EQ(integer_error("1:4:+1,2"), "2 stands twice in '1:4:+1,2'");
  EXPECT_EQ(integer_error("1:1000000:+1"), "an axis has at most 100000 values");
  const auto from_zero = parse_integer_axis("0:8:x2", 0, 8);
  ASSERT_FALSE(from_zero.has_value());
  EXPECT_EQ(from_zero.error().what, "'0:8:x2' cannot be multiplied from 0 upwards");
}

TEST(Axis, NumbersReachTheirEnd) {
  const auto quarters = parse_number_axis("1:2:+0.25", 0, 10);
  ASSERT_TRUE(quarters.has_value());
  EXPECT_EQ(*quarters, (std::vector<double>{1, 1.25, 1.5, 1.75, 2}));
  const auto tenths = parse_number_axis("0:1:+0.1", 0, 10);
  ASSERT_TRUE(tenths.has_value());
  EXPECT_EQ(tenths->size(), 11U);
  EXPECT_EQ(tenths->back(), 1.0);
  EXPECT_FALSE(parse_number_axis("nan", 0, 10).has_value());
  EXPECT_FALSE(parse_number_axis("inf", 0, 10).has_value());
  EXPECT_FALSE(parse_number_axis("11", 0, 10).has_value());
}

TEST(Axis, Words) {
  const auto words = parse_word_axis("zoo:a, zoo:b");
  ASSERT_TRUE(words.has_value());
  EXPECT_EQ(*words, (std::vector<std::string>{"zoo:a", "zoo:b"}));
  EXPECT_FALSE(parse_word_axis("a,,b").has_value());
  EXPECT_FALSE(parse_word_axis("a,b,a").has_value());
}

}  // namespace
}  // namespace moesim
