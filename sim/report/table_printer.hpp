// A report as text for people: aligned columns, humanised units, colour if asked for.
//
//   rank  TP  EP  step time  fits
//      1   2   8     1.234 s  yes
// Widths count terminal columns (display_width.hpp). The last column is never padded, so long reasons wrap by themselves.
#pragma once

#include <string>

#include "sim/report/report.hpp"

namespace moesim {

enum class Colour : std::uint8_t { kOff, kOn };
enum class Legend : std::uint8_t {
  kOff,
  kOn,  // what each column means, below its table
};

struct TableStyle {
  Colour colour = Colour::kOff;
  Legend legend = Legend::kOff;
};

[[nodiscard]] std::string to_text(const Report& report, const TableStyle& style);
[[nodiscard]] std::string to_text(const MetricTable& table, const TableStyle& style);
// Every section of the table for people as a Markdown table with a heading.
[[nodiscard]] std::string to_markdown(const Report& report);

}  // namespace moesim
