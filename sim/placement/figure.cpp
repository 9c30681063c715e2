#include "sim/placement/figure.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/text.hpp"
#include "sim/report/svg.hpp"

namespace moesim {
namespace {

constexpr double kReplayWidth = 1000;
constexpr double kReplayHeight = 460;
constexpr double kReplayLeft = 90;
constexpr double kReplayTop = 40;
constexpr double kPlotWidth = 700;
constexpr double kPlotHeight = 360;
constexpr std::size_t kMostPoints = 350;
constexpr std::string_view kOracleColour = "#222222";
constexpr std::string_view kGridColour = "#dddddd";

struct Curve {
  std::string name;
  std::string_view colour;
  std::vector<double> seconds;  // by point
  std::vector<bool> switched;
  double thickness = 1.5;
};

class ReplayPlot {
 public:
  ReplayPlot(const ReplayTrace& trace, std::size_t steps)
      : trace_(trace), steps_(steps), per_point_((steps + kMostPoints - 1) / kMostPoints) {}

  // Means of neighbouring steps.
  template <class Value>
  [[nodiscard]] std::vector<double> points(const Value& value) const {
    std::vector<double> result;
    for (std::size_t first = 0; first < steps_; first += per_point_) {
      const std::size_t last = std::min(steps_, first + per_point_);
      double sum = 0;
      for (std::size_t step = first; step < last; ++step) sum += value(step);
      result.push_back(sum / static_cast<double>(last - first));
    }
    return result;
  }
  [[nodiscard]] std::string draw(const std::string& title, const std::vector<Curve>& curves) {
    for (const Curve& curve : curves)
      for (const double seconds : curve.seconds) most_ = std::max(most_, seconds);
    if (most_ <= 0) most_ = 1;
    SvgSheet sheet(kReplayWidth, kReplayHeight);
    sheet.text(kReplayLeft, 24, title, {.size = 14});
    draw_axes(sheet);
    double y = kReplayTop + 10;
    for (const Curve& curve : curves) {
      draw_curve(sheet, curve);
      sheet.line(kReplayLeft + kPlotWidth + 16, y - 4, kReplayLeft + kPlotWidth + 40, y - 4, curve.colour, 3);
      sheet.text(kReplayLeft + kPlotWidth + 46, y, curve.name, {.size = 12});
      y += 20;
    }
    return sheet.finish();
  }

 private:
  [[nodiscard]] double x_of(std::size_t point) const {
    const auto last = static_cast<double>(std::max<std::size_t>(2, (steps_ + per_point_ - 1) / per_point_) - 1);
    return kReplayLeft + static_cast<double>(point) / last * kPlotWidth;
  }
  [[nodiscard]] double y_of(double seconds) const { return kReplayTop + kPlotHeight * (1 - seconds / (1.05 * most_)); }

  void draw_axes(SvgSheet& sheet) const {
    const double power = std::pow(10, std::floor(std::log10(most_ / 4)));
    const double rest = most_ / 4 / power;
    const double step = power * (rest >= 5 ? 5 : rest >= 2 ? 2 : 1);
    for (int i = 0; i * step <= 1.05 * most_; ++i) {
      sheet.line(kReplayLeft, y_of(i * step), kReplayLeft + kPlotWidth, y_of(i * step), kGridColour);
      sheet.text(kReplayLeft - 6, y_of(i * step) + 4, humanize(Seconds(i * step)),
                 {.size = 11, .anchor = SvgAnchor::kEnd});
    }
    constexpr int kLabels = 5;
    for (int i = 0; i <= kLabels; ++i) {
      const auto step_at = static_cast<std::size_t>(i) * (steps_ - 1) / kLabels;
      sheet.text(x_of(step_at / per_point_), kReplayTop + kPlotHeight + 18,
                 fmt::format("{}", trace_.iterations()[step_at]), {.size = 11, .anchor = SvgAnchor::kMiddle});
    }
    sheet.text(kReplayLeft + kPlotWidth / 2, kReplayTop + kPlotHeight + 40, "iteration",
               {.size = 12, .anchor = SvgAnchor::kMiddle});
  }
  void draw_curve(SvgSheet& sheet, const Curve& curve) const {
    for (std::size_t i = 0; i + 1 < curve.seconds.size(); ++i)
      sheet.line(x_of(i), y_of(curve.seconds[i]), x_of(i + 1), y_of(curve.seconds[i + 1]), curve.colour,
                 curve.thickness);
    for (std::size_t i = 0; i < curve.switched.size(); ++i)
      if (curve.switched[i])
        sheet.rectangle({x_of(i) - 2, y_of(curve.seconds[i]) - 2, 4, 4}, curve.colour,
                        fmt::format("{}: placements change", curve.name));
  }

  const ReplayTrace& trace_;
  std::size_t steps_;
  std::size_t per_point_;
  double most_ = 0;
};

}  // namespace

std::string replay_figure(const std::string& title, const ReplayTrace& trace, std::span<const PolicyReplay> policies,
                          const ReplayBounds& bounds) {
  ReplayPlot plot(trace, static_cast<std::size_t>(trace.steps()));
  std::vector<Curve> curves;
  for (std::size_t i = 0; i < policies.size(); ++i) {
    const std::vector<ReplayStep>& steps = policies[i].steps;
    Curve curve{std::string(policies[i].policy), figure_colour(i), {}, {}, 1.5};
    curve.seconds = plot.points([&](std::size_t step) { return steps[step].iteration.value(); });
    for (const double switching : plot.points([&](std::size_t step) { return steps[step].switching.value(); }))
      curve.switched.push_back(switching > 0);
    curves.push_back(std::move(curve));
  }
  curves.push_back(
      {"oracle", kOracleColour, plot.points([&](std::size_t step) { return bounds.oracle[step].value(); }), {}, 1});
  return plot.draw(title, curves);
}

}  // namespace moesim
