#include "sim/report/svg.hpp"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <iterator>

namespace moesim {
namespace {

// At most two digits behind the point and no trailing zeros: 12.50 is 12.5, -0.00 is 0.
std::string svg_number(double value) {
  std::string text = fmt::format("{:.2f}", std::round(value * 100) / 100 + 0.0);
  while (text.back() == '0') text.pop_back();
  if (text.back() == '.') text.pop_back();
  return text == "-0" ? "0" : text;
}

std::string_view anchor_word(SvgAnchor anchor) {
  switch (anchor) {
    case SvgAnchor::kStart: return "start";
    case SvgAnchor::kMiddle: return "middle";
    case SvgAnchor::kEnd: return "end";
  }
  return "start";
}

}  // namespace

SvgSheet::SvgSheet(double width, double height) : width_(width), height_(height) {}

void SvgSheet::rectangle(const SvgBox& box, std::string_view colour, std::string_view title) {
  if (!(box.width >= 0.01 && box.height >= 0.01)) return;
  fmt::format_to(std::back_inserter(body_), R"(<rect x="{}" y="{}" width="{}" height="{}" fill="{}")",
                 svg_number(box.x), svg_number(box.y), svg_number(box.width), svg_number(box.height),
                 xml_escaped(colour));
  body_ += title.empty() ? std::string("/>\n") : fmt::format("><title>{}</title></rect>\n", xml_escaped(title));
}

void SvgSheet::line(double x1, double y1, double x2, double y2, std::string_view colour, double thickness) {
  fmt::format_to(std::back_inserter(body_),
                 "<line x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\" stroke=\"{}\" stroke-width=\"{}\"/>\n", svg_number(x1),
                 svg_number(y1), svg_number(x2), svg_number(y2), xml_escaped(colour), svg_number(thickness));
}

void SvgSheet::text(double x, double y, std::string_view text, const SvgTextStyle& style) {
  fmt::format_to(std::back_inserter(body_),
                 "<text x=\"{}\" y=\"{}\" font-size=\"{}\" text-anchor=\"{}\" fill=\"{}\">{}</text>\n", svg_number(x),
                 svg_number(y), svg_number(style.size), anchor_word(style.anchor), xml_escaped(style.colour),
                 xml_escaped(text));
}

std::string SvgSheet::finish() const {
  const std::string width = svg_number(width_);
  const std::string height = svg_number(height_);
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\" "
      "font-family=\"sans-serif\">\n<rect width=\"{0}\" height=\"{1}\" fill=\"#ffffff\"/>\n{2}</svg>\n",
      width, height, body_);
}

std::string xml_escaped(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&': escaped += "&amp;"; break;
      case '<': escaped += "&lt;"; break;
      case '>': escaped += "&gt;"; break;
      case '"': escaped += "&quot;"; break;
      case '\t':
      case '\n': escaped += ' '; break;
      default: escaped += static_cast<unsigned char>(c) < 0x20 ? '?' : c;
    }
  }
  return escaped;
}

std::string_view figure_colour(std::size_t index) {
  static constexpr std::array<std::string_view, 20> kColours = {
      "#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#b07aa1", "#76b7b2", "#edc948", "#9c755f", "#ff9da7", "#8a8a8a",
      "#2c4766", "#9a5510", "#32602c", "#8f2b2d", "#6a4560", "#3f7571", "#9b7f16", "#5c4235", "#b34a58", "#4a4a4a"};
  return kColours[index % kColours.size()];
}

}  // namespace moesim
