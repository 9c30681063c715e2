#include "sim/report/display_width.hpp"

#include <gtest/gtest.h>

namespace moesim {
namespace {

TEST(DisplayWidth, CountsColumnsNotBytes) {
  EXPECT_EQ(display_width(""), 0U);
  EXPECT_EQ(display_width("step"), 4U);
  EXPECT_EQ(display_width("Z\xC3\xBCrich"), 6U);             // u umlaut is two bytes
  EXPECT_EQ(display_width("\xE6\xA8\xA1\xE5\x9E\x8B"), 4U);  // two CJK characters of two columns
  EXPECT_EQ(display_width("e\xCC\x81"), 1U);                 // combining acute
  EXPECT_EQ(display_width("\xF0\x9F\x98\x80"), 2U);          // an emoji
}

TEST(DisplayWidth, BrokenBytesCountOneEach) {
  EXPECT_EQ(display_width("\xFF\xFE"), 2U);
  EXPECT_EQ(display_width("a\xC3"), 2U);  // cut off in the middle
}

TEST(Padded, FillsToTheWidthOnEitherSide) {
  EXPECT_EQ(padded("ab", 4, Align::kLeft), "ab  ");
  EXPECT_EQ(padded("ab", 4, Align::kRight), "  ab");
  EXPECT_EQ(padded("\xE6\xA8\xA1", 4, Align::kLeft), "\xE6\xA8\xA1  ");
  EXPECT_EQ(padded("abcdef", 4, Align::kRight), "abcdef");
}

TEST(Printable, DefusesControlCharacters) {
  EXPECT_EQ(printable("a\x1b[31mb\nc\td\x7f"), "a?[31mb?c?d?");
  EXPECT_EQ(printable("Z\xC3\xBCrich"), "Z\xC3\xBCrich");
}

}  // namespace
}  // namespace moesim
