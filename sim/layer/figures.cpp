#include "sim/layer/figures.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/text.hpp"
#include "calibration/quantile.hpp"
#include "sim/report/svg.hpp"

namespace moesim {
namespace {

constexpr double kSheetWidth = 1000;
constexpr double kMargin = 16;
constexpr double kLabels = 210;   // left of the field: "deepspeed-moe-ar", and the name of a lane
constexpr double kTickRoom = 20;  // right of it: half of the last number
constexpr double kField = kSheetWidth - kLabels - kTickRoom - 2 * kMargin;
constexpr double kLane = 18;
constexpr std::string_view kGrey = "#cccccc";
constexpr std::string_view kDark = "#222222";

double field_left() { return kMargin + kLabels; }

// ---- timelines

const Op& interval_op(const Program& program, const Interval& interval) {
  return program.op_at(StageId(0), interval.call, interval.op);
}

std::vector<Stream> lanes_of(const ScheduleOutcome& outcome) {
  std::vector<Stream> lanes;
  for (int stream = 0; stream < kStreams; ++stream)
    if (std::any_of(outcome.result.replay.intervals.begin(), outcome.result.replay.intervals.end(),
                    [&](const Interval& interval) {
                      return interval_op(outcome.program, interval).stream == static_cast<Stream>(stream);
                    }))
      lanes.push_back(static_cast<Stream>(stream));
  return lanes;
}

std::string pieces_text(int forward, int backward) {
  if (backward != forward) return fmt::format(", {} and {} pieces", forward, backward);
  return forward > 1 ? fmt::format(", {} pieces", forward) : std::string();
}

void draw_category_legend(SvgSheet& sheet, std::span<const ScheduleOutcome> outcomes, double y) {
  double x = field_left();
  for (int c = 0; c < kCategories; ++c) {
    const auto category = static_cast<Category>(c);
    const bool used = std::any_of(outcomes.begin(), outcomes.end(), [&](const ScheduleOutcome& outcome) {
      return std::any_of(outcome.result.replay.intervals.begin(), outcome.result.replay.intervals.end(),
                         [&](const Interval& i) { return category_of(interval_op(outcome.program, i)) == category; });
    });
    if (!used) continue;
    sheet.rectangle({x, y - 10, 12, 12}, figure_colour(static_cast<std::size_t>(c)));
    sheet.text(x + 16, y, category_name(category));
    x += 36 + 7.0 * static_cast<double>(category_name(category).size());
  }
}

// Returns the height that it took.
double draw_timeline(SvgSheet& sheet, const ScheduleOutcome& outcome, double y, double pixels_per_second) {
  const LayerResult& result = outcome.result;
  const std::vector<Stream> lanes = lanes_of(outcome);
  sheet.text(kMargin, y + 12,
             fmt::format("{}{}", outcome.schedule->name(), pieces_text(outcome.degree, outcome.backward_degree)),
             {.size = 13});
  sheet.text(kMargin, y + 28, humanize(result.times.total()), {.size = 12, .colour = "#555555"});
  for (std::size_t lane = 0; lane < lanes.size(); ++lane) {
    const double top = y + static_cast<double>(lane) * kLane;
    sheet.text(field_left() - 6, top + 12, stream_name(lanes[lane]), {.size = 10, .anchor = SvgAnchor::kEnd});
    for (const Interval& interval : result.replay.intervals) {
      const Op& op = interval_op(outcome.program, interval);
      if (op.stream != lanes[lane]) continue;
      const Seconds start(static_cast<double>(interval.start) / kPicosecondsPerSecond);
      const Seconds length(static_cast<double>(interval.end - interval.start) / kPicosecondsPerSecond);
      sheet.rectangle(
          {field_left() + start.value() * pixels_per_second, top + 1, length.value() * pixels_per_second, kLane - 3},
          figure_colour(static_cast<std::size_t>(category_of(op))), fmt::format("{}: {}", op.name, humanize(length)));
    }
  }
  const double height = std::max(32.0, static_cast<double>(lanes.size()) * kLane);
  const double turn = field_left() + result.times.forward.value() * pixels_per_second;
  if (result.times.backward > Seconds(0)) sheet.line(turn, y, turn, y + height, kDark);
  return height;
}

// ---- grids

std::string cell_name(const CellSummary& cell, const LayerGrid& grid) {
  return fmt::format("{}TP {} ESP {}", grid.clusters.size() > 1 ? fmt::format("cluster {}, ", cell.cluster + 1) : "",
                     cell.tp, cell.esp);
}

// 1, 2 or 5 times a power of ten, so that there are four to ten of them.
double tick_step(double span) {
  const double power = std::pow(10, std::floor(std::log10(span / 4)));
  const double rest = span / 4 / power;
  return power * (rest >= 5 ? 5 : rest >= 2 ? 2 : 1);
}

struct SpeedAxis {
  double most = 1;
  [[nodiscard]] double x(double speedup) const { return field_left() + speedup / most * kField; }
};

void draw_speed_axis(SvgSheet& sheet, const SpeedAxis& axis, double top, double bottom) {
  const double step = tick_step(axis.most);
  for (int i = 0; step * i <= axis.most * 1.0001; ++i) {
    const double x = axis.x(step * i);
    sheet.line(x, top, x, bottom, step * i == 1 ? kDark : kGrey);
    sheet.text(x, bottom + 14, fmt::format("{:.4g}x", step * i), {.size = 11, .anchor = SvgAnchor::kMiddle});
  }
}

void draw_box(SvgSheet& sheet, const SpeedAxis& axis, const std::vector<double>& values, double y,
              std::string_view colour) {
  const double least = quantile(values, 0);
  const double low = quantile(values, 0.25);
  const double middle = quantile(values, 0.5);
  const double high = quantile(values, 0.75);
  const double most = quantile(values, 1);
  sheet.line(axis.x(least), y + 5, axis.x(most), y + 5, colour, 2);
  sheet.rectangle({axis.x(low), y, std::max(2.0, axis.x(high) - axis.x(low)), 10}, colour,
                  fmt::format("{:.2f} .. {:.2f}, median {:.2f}, {} layers", least, most, middle, values.size()));
  sheet.line(axis.x(middle), y - 1, axis.x(middle), y + 11, kDark, 2);
}

double draw_schedule_legend(SvgSheet& sheet, const GridTimes& times, double y) {
  double x = field_left();
  for (std::size_t s = 0; s < times.schedules.size(); ++s) {
    const std::string_view name = times.schedules[s]->name();
    const double width = 36 + 7.5 * static_cast<double>(name.size());
    if (x + width > kSheetWidth) {
      x = field_left();
      y += 18;
    }
    sheet.rectangle({x, y - 10, 12, 12}, figure_colour(s));
    sheet.text(x + 16, y, name);
    x += width;
  }
  return y;
}

std::size_t winner_columns(const LayerGrid& grid) {
  return grid.hidden.size() * (grid.expert_width.size() + grid.width_multiple.size());
}

// One square per layer; grey where the baseline has no time.
void draw_winners(SvgSheet& sheet, const LayerGrid& grid, const GridTimes& times, std::size_t cell,
                  std::size_t baseline, double x, double y, double square) {
  const std::size_t columns = winner_columns(grid);
  const std::size_t per_cell = grid.layers_per_cell();
  for (std::size_t i = 0; i < per_cell; ++i) {
    const std::size_t layer = cell * per_cell + i;
    const std::optional<std::size_t> winner = times.winner(layer);
    const bool dropped = !times.timed(layer, baseline) || !winner;
    std::string title = fmt::format("{}: {}", point_text(grid_point(grid, layer)),
                                    dropped ? "dropped" : times.schedules[*winner]->name());
    if (const std::size_t place = dropped ? 0 : times.place(layer, *winner); !dropped)
      title += pieces_text(times.degrees[place], times.backward_degrees[place]);
    sheet.rectangle({x + static_cast<double>(i % columns) * square, y + static_cast<double>(i / columns) * square,
                     square - 1, square - 1},
                    dropped ? kGrey : figure_colour(*winner), title);
  }
}

}  // namespace

std::string timelines_figure(const std::string& title, std::span<const ScheduleOutcome> outcomes) {
  std::vector<const ScheduleOutcome*> shown;
  Seconds longest;
  double height = 70;
  for (const ScheduleOutcome& outcome : outcomes) {
    if (!outcome.refused.empty()) continue;
    shown.push_back(&outcome);
    longest = std::max(longest, outcome.result.times.total());
    height += std::max(32.0, static_cast<double>(lanes_of(outcome).size()) * kLane) + 14;
  }
  SvgSheet sheet(kSheetWidth, height + 30);
  sheet.text(kMargin, 24, title, {.size = 15});
  draw_category_legend(sheet, outcomes, 48);
  const double scale = longest > Seconds(0) ? kField / longest.value() : 0;
  double y = 66;
  for (const ScheduleOutcome* outcome : shown) y += draw_timeline(sheet, *outcome, y, scale) + 14;
  const double step = longest > Seconds(0) ? tick_step(longest.value()) : 1;
  for (int i = 0; longest > Seconds(0) && step * i <= longest.value(); ++i)
    sheet.text(field_left() + step * i * scale, y + 8, humanize(Seconds(step * i)),
               {.size = 11, .anchor = SvgAnchor::kMiddle});
  return sheet.finish();
}

std::string grid_figure(const LayerGrid& grid, const GridTimes& times, const GridSummary& summary,
                        std::size_t baseline) {
  SpeedAxis axis;
  for (const SpeedUps& sum : summary.all.schedules) axis.most = std::max(axis.most, sum.most);
  axis.most *= 1.03;
  std::size_t boxes = 0;
  for (const CellSummary& cell : summary.cells)
    for (std::size_t s = 0; s < cell.schedules.size(); ++s)
      if (s != baseline && cell.schedules[s].layers > 0) ++boxes;
  const std::size_t columns = winner_columns(grid);
  const std::size_t rows = grid.layers_per_cell() / columns;
  const double square = 10;
  const double map_width = std::max(135.0, static_cast<double>(columns) * square + 20);
  const auto maps_in_row = static_cast<std::size_t>(std::max(1.0, std::floor((kSheetWidth - 2 * kMargin) / map_width)));
  const std::size_t map_rows = (summary.cells.size() + maps_in_row - 1) / maps_in_row;
  const double map_height = static_cast<double>(rows) * square + 34;
  const double boxes_height = static_cast<double>(boxes) * 15 + static_cast<double>(summary.cells.size()) * 10;
  SvgSheet sheet(std::max(kSheetWidth, map_width + 2 * kMargin),
                 145 + boxes_height + static_cast<double>(map_rows) * map_height);
  sheet.text(kMargin, 24, fmt::format("{}: speed-up over {}", grid.name, times.schedules[baseline]->name()),
             {.size = 15});
  double y = draw_schedule_legend(sheet, times, 48) + 22;
  draw_speed_axis(sheet, axis, y - 6, y + boxes_height);
  for (std::size_t c = 0; c < summary.cells.size(); ++c) {
    sheet.text(kMargin, y + 9, cell_name(summary.cells[c], grid));
    for (std::size_t s = 0; s < times.schedules.size(); ++s) {
      if (s == baseline || summary.cells[c].schedules[s].layers == 0) continue;
      draw_box(sheet, axis, cell_speedups(grid, times, c, baseline, s), y, figure_colour(s));
      y += 15;
    }
    y += 10;
  }
  y += 44;
  sheet.text(kMargin, y, "Fastest schedule of each layer (grey: dropped)", {.size = 15});
  y += 24;
  for (std::size_t c = 0; c < summary.cells.size(); ++c) {
    const double x = kMargin + static_cast<double>(c % maps_in_row) * map_width;
    const double top = y + static_cast<double>(c / maps_in_row) * map_height;
    sheet.text(x, top, cell_name(summary.cells[c], grid), {.size = 11});
    draw_winners(sheet, grid, times, c, baseline, x, top + 6, square);
  }
  return sheet.finish();
}

}  // namespace moesim
