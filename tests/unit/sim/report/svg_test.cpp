#include "sim/report/svg.hpp"

#include <gtest/gtest.h>

namespace moesim {
namespace {

TEST(Svg, ElementsToTheDigit) {
  SvgSheet sheet(200, 50.5);
  sheet.rectangle({10, 10.004, 80.126, 20}, "#4e79a7", "2 < 3");
  sheet.rectangle({0, 0, 0.001, 20}, "#4e79a7");  // nobody would see it
  sheet.line(0, -0.001, 5, 7.1, "#000000", 2);
  sheet.text(10, 45, "a & b", {.size = 9, .anchor = SvgAnchor::kEnd});
  EXPECT_EQ(sheet.finish(),
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"200\" height=\"50.5\" viewBox=\"0 0 200 50.5\" "
            "font-family=\"sans-serif\">\n"
            "<rect width=\"200\" height=\"50.5\" fill=\"#ffffff\"/>\n"
            "<rect x=\"10\" y=\"10\" width=\"80.13\" height=\"20\" fill=\"#4e79a7\"><title>2 &lt; 3</title></rect>\n"
            "<line x1=\"0\" y1=\"0\" x2=\"5\" y2=\"7.1\" stroke=\"#000000\" stroke-width=\"2\"/>\n"
            "<text x=\"10\" y=\"45\" font-size=\"9\" text-anchor=\"end\" fill=\"#222222\">a &amp; b</text>\n"
            "</svg>\n");
}

TEST(Svg, EscapesWhatXmlWouldMisread) {
  EXPECT_EQ(xml_escaped("<a b=\"c\">&\n\x01"), "&lt;a b=&quot;c&quot;&gt;&amp; ?");
  EXPECT_EQ(xml_escaped("Grüße"), "Grüße");
}

TEST(Svg, ColoursRepeatAfterTen) {
  EXPECT_EQ(figure_colour(3), figure_colour(23));
  EXPECT_NE(figure_colour(3), figure_colour(13));
  EXPECT_NE(figure_colour(3), figure_colour(4));
}

}  // namespace
}  // namespace moesim
