#include "sim/report/log_plot.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

namespace moesim {
namespace {

struct Axis {
  double low = 0;  // logarithms
  double high = 0;
  int cells = 1;
  [[nodiscard]] int cell(double value) const {
    const double span = high - low;
    const double share = span > 0 ? (std::log(value) - low) / span : 0.5;
    return std::clamp(static_cast<int>(std::lround(share * (cells - 1))), 0, cells - 1);
  }
};

struct Field {
  Axis x;
  Axis y;
};

bool drawable(const std::pair<double, double>& point) {
  return point.first > 0 && point.second > 0 && std::isfinite(point.first) && std::isfinite(point.second);
}

std::optional<Field> field_of(const LogPlot& plot) {
  std::optional<Field> field;
  for (const PlotSeries& series : plot.series)
    for (const auto& point : series.points) {
      if (!drawable(point)) continue;
      const double x = std::log(point.first);
      const double y = std::log(point.second);
      if (!field) field = Field{{x, x, plot.width}, {y, y, plot.height}};
      field->x.low = std::min(field->x.low, x), field->x.high = std::max(field->x.high, x);
      field->y.low = std::min(field->y.low, y), field->y.high = std::max(field->y.high, y);
    }
  return field;
}

std::string label(double logarithm, MetricUnit unit) {
  const double value = std::exp(logarithm);
  if (unit == MetricUnit::kBytes) return display_text(static_cast<std::int64_t>(std::llround(value)), unit);
  return display_text(value, unit);
}

}  // namespace

std::vector<std::string> plot_lines(const LogPlot& plot) {
  const std::optional<Field> field = field_of(plot);
  if (!field) return {};
  std::vector<std::string> rows(static_cast<std::size_t>(plot.height),
                                std::string(static_cast<std::size_t>(plot.width), ' '));
  for (const PlotSeries& series : plot.series)
    for (const auto& point : series.points) {
      if (!drawable(point)) continue;
      const auto row = static_cast<std::size_t>(plot.height - 1 - field->y.cell(point.second));
      rows[row][static_cast<std::size_t>(field->x.cell(point.first))] = series.mark;
    }
  const std::string top = label(field->y.high, plot.y_unit);
  const std::string bottom = label(field->y.low, plot.y_unit);
  const std::size_t margin = std::max(top.size(), bottom.size());
  std::vector<std::string> lines;
  if (!plot.title.empty()) lines.push_back(plot.title);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::string& side = i == 0 ? top : i + 1 == rows.size() ? bottom : std::string();
    std::string line = fmt::format("{:>{}} | {}", side, margin, rows[i]);
    line.erase(line.find_last_not_of(' ') + 1);
    lines.push_back(std::move(line));
  }
  lines.push_back(std::string(margin, ' ') + " +" + std::string(static_cast<std::size_t>(plot.width) + 1, '-'));
  const std::string left = label(field->x.low, plot.x_unit);
  const std::string right = label(field->x.high, plot.x_unit);
  const auto width = static_cast<std::size_t>(plot.width);
  const std::size_t gap = width > left.size() + right.size() ? width - left.size() - right.size() : 1;
  lines.push_back(std::string(margin + 3, ' ') + left + std::string(gap, ' ') + right);
  return lines;
}

}  // namespace moesim
