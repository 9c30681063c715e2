// Figures as pictures: their size, and that text is drawn.
#include "sim/report/png.hpp"

#include <gtest/gtest.h>

#include "sim/report/svg.hpp"

// What fontconfig reads of the system's fonts it keeps until the program ends; a sanitizer would call it leaked.
extern "C" const char* __lsan_default_suppressions() { return "leak:libfontconfig"; }

namespace moesim {
namespace {

std::string figure(std::string_view text) {
  SvgSheet sheet(60, 30);
  sheet.rectangle({5, 5, 50, 20}, figure_colour(0));
  if (!text.empty()) sheet.text(10, 20, text);
  return sheet.finish();
}

std::string picture(std::string_view text) { return png_of(figure(text), 2).value(); }

// Width and height stand in the header, behind eight bytes of signature and the length and name of the first chunk.
TEST(Png, IsOfTheSizeAskedFor) {
  ASSERT_TRUE(check_png()) << check_png().error().what;
  const std::string png = picture("W");
  EXPECT_EQ(png.substr(0, 8), "\x89PNG\r\n\x1a\n");
  EXPECT_EQ(png.substr(12, 12), std::string("IHDR\0\0\0\x78\0\0\0\x3c", 12));  // 120 x 60
}

// Without a font it would be left out, or be boxes, the same for every letter.
TEST(Png, ShowsText) {
  EXPECT_NE(picture("W"), picture(""));
  EXPECT_NE(picture("W"), picture("i"));
}

TEST(Png, IsTheSameForTheSameFigure) { EXPECT_EQ(picture("W"), picture("W")); }

TEST(Png, SaysWhatIsNoFigure) {
  const Result<std::string> none = png_of("no figure", 1);
  ASSERT_FALSE(none);
  EXPECT_NE(none.error().what.find("cannot draw the figure: "), std::string::npos) << none.error().what;
}

TEST(Png, IsRefusedWhereItWouldBeTooLarge) {
  const Result<std::string> huge = png_of(figure(""), 1000);  // cairo's pictures have at most 32767 pixels a side
  ASSERT_FALSE(huge);
  EXPECT_EQ(huge.error().what, "cannot draw the figure: 60000 x 30000 pixels are too many");
}

}  // namespace
}  // namespace moesim
