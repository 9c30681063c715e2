// A small SVG writer: rectangles, lines and texts on a white sheet, one element per line, the same input the same bytes.
//
// Lengths are in pixels with at most two digits behind the point; text is escaped. An element may carry a title, which browsers
// show under the mouse.
//   SvgSheet sheet(200, 50);
//   sheet.rectangle({10, 10, 80, 20}, "#4e79a7", "2.31 ms");
//   sheet.text(10, 45, "forward & backward");
//   sheet.finish()  ->  <svg xmlns=... width="200" height="50" ...>
#pragma once

#include <string>
#include <string_view>

namespace moesim {

struct SvgBox {
  double x = 0;
  double y = 0;
  double width = 0;
  double height = 0;
};

enum class SvgAnchor { kStart, kMiddle, kEnd };

struct SvgTextStyle {
  double size = 12;
  SvgAnchor anchor = SvgAnchor::kStart;
  std::string_view colour = "#222222";
};

class SvgSheet {
 public:
  SvgSheet(double width, double height);
  // No box where nothing would be seen of it (below a hundredth of a pixel).
  void rectangle(const SvgBox& box, std::string_view colour, std::string_view title = {});
  void line(double x1, double y1, double x2, double y2, std::string_view colour, double thickness = 1);
  // `y` is the baseline's.
  void text(double x, double y, std::string_view text, const SvgTextStyle& style = {});
  [[nodiscard]] std::string finish() const;

 private:
  std::string body_;
  double width_;
  double height_;
};

// "a < b" -> "a &lt; b"; what XML has no characters for becomes a question mark.
[[nodiscard]] std::string xml_escaped(std::string_view text);

// Ten colours that stay apart for most eyes, the same ten darker, and again from the first.
[[nodiscard]] std::string_view figure_colour(std::size_t index);

}  // namespace moesim
