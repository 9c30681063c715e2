// moesim profile show | diff | list

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>

#include "calibration/parameter_fields.hpp"
#include "calibration/profile.hpp"
#include "calibration/quantile.hpp"
#include "sim/cli/commands/commands.hpp"
#include "sim/cli/sources.hpp"
#include "sim/report/log_plot.hpp"

namespace moesim {
namespace {

// A measured curve with a name of its own, "all_gather, 8 ranks on 4 nodes".
struct NamedCurve {
  std::string name;
  const PiecewiseTime* time = nullptr;
  const std::vector<TimePoint>* points = nullptr;
};

std::vector<NamedCurve> curves_of(const Profile& profile) {
  std::vector<NamedCurve> curves;
  for (const ProfileSection& section : profile.sections) {
    for (const MemorySeries& series : section.measured.memory)
      curves.push_back({fmt::format("{} {}", memory_kernel_name(series.kernel), dtype_name(series.type)), &series.time,
                        &series.points});
    for (const CollectiveSeries& series : section.measured.collectives) {
      const GroupShape& shape = series.shape;
      const bool linear = series.exchange == ExchangeAlgorithm::kLinear;
      curves.push_back(
          {fmt::format("{} {}, {} ranks on {} node{}", collective_name(series.kind),
                       linear ? algorithm_name(series.algorithm) : exchange_algorithm_name(series.exchange),
                       shape.ranks, shape.nodes, shape.nodes == 1 ? "" : "s"),
           &series.time, &series.points});
    }
  }
  return curves;
}

double median_error(const NamedCurve& curve) {
  std::vector<double> errors;
  for (const TimePoint& point : *curve.points)
    errors.push_back(std::abs(curve.time->at(point.bytes).value() / point.seconds - 1));
  return quantile(errors, 0.5);
}

MetricTable section_table(const Profile& profile) {
  MetricTable table(
      {{"section", MetricUnit::kNone, "section", "Law, or class of link"},
       {"origin", MetricUnit::kNone, "origin", "How its numbers came about"},
       {"points", MetricUnit::kNone, "points", "Measurements"},
       {"residual_median", MetricUnit::kRatio, "median error", "Over measurements, held-out ones where there are any"},
       {"residual_p90", MetricUnit::kRatio, "90th percentile", "Of the same"},
       {"range", MetricUnit::kNone, "range", "What was measured"},
       {"date", MetricUnit::kNone, "date", "Of the measurements"},
       {"source", MetricUnit::kNone, "source", "Whose measurements"}});
  const auto known = [](double value) { return value >= 0 ? MetricValue(value) : MetricValue(); };
  for (const ProfileSection& section : profile.sections)
    table.add_row({section.name, std::string(origin_name(section.provenance.origin)), std::int64_t{section.points},
                   known(section.provenance.residual), known(section.residual_p90), section.provenance.range,
                   section.date, section.provenance.source});
  return table;
}

MetricTable parameter_table(const Profile& profile) {
  MetricTable table({{"parameter", MetricUnit::kNone, "parameter", "section.name (docs/laws.md)"},
                     {"value", MetricUnit::kNone, "value", "Share, seconds or bytes"}});
  for (const ProfileSection& section : profile.sections)
    for (const auto& [name, value] : section.parameters) table.add_row({section.name + "." + name, value});
  return table;
}

MetricTable curve_table(const std::vector<NamedCurve>& curves) {
  MetricTable table({{"curve", MetricUnit::kNone, "measured curve", "Operation, and where"},
                     {"pieces", MetricUnit::kNone, "pieces", "Straight parts"},
                     {"start_s", MetricUnit::kSeconds, "start-up", "Of the first piece"},
                     {"bytes_per_s", MetricUnit::kBytesPerSecond, "rate", "Of the last piece"},
                     {"smallest_bytes", MetricUnit::kBytes, "from", "Smallest size measured"},
                     {"largest_bytes", MetricUnit::kBytes, "to", "Largest size measured"},
                     {"median_error", MetricUnit::kRatio, "median error", "Of the curve over its points"}});
  for (const NamedCurve& curve : curves) {
    const double slope = curve.time->pieces.back().s_per_byte;
    table.add_row({curve.name, std::ssize(curve.time->pieces), curve.time->pieces.front().alpha_s,
                   slope > 0 ? MetricValue(1 / slope) : MetricValue(),
                   static_cast<std::int64_t>(curve.time->smallest_bytes),
                   static_cast<std::int64_t>(curve.time->largest_bytes), median_error(curve)});
  }
  return table;
}

void draw(const NamedCurve& curve, Drawing& drawing) {
  constexpr int kSteps = 128;
  PlotSeries fitted{'.', {}};
  const double first = std::max(1.0, curve.time->smallest_bytes);
  for (int i = 0; i <= kSteps; ++i) {
    const double bytes = first * std::pow(curve.time->largest_bytes / first, static_cast<double>(i) / kSteps);
    fitted.points.emplace_back(bytes, curve.time->at(bytes).value());
  }
  PlotSeries measured{'o', {}};
  for (const TimePoint& point : *curve.points) measured.points.emplace_back(point.bytes, point.seconds);
  const std::vector<std::string> lines = plot_lines({.title = curve.name + "  (o measured, . fitted)",
                                                     .x_unit = MetricUnit::kBytes,
                                                     .y_unit = MetricUnit::kSeconds,
                                                     .series = {fitted, measured}});
  drawing.lines.insert(drawing.lines.end(), lines.begin(), lines.end());
  drawing.lines.emplace_back();
}

// The rate that each measured shape reached, over its operations.
void draw_gemms(const Profile& profile, const std::string& wanted, Drawing& drawing) {
  std::map<DType, PlotSeries> by_type;
  for (const ProfileSection& section : profile.sections)
    for (const GemmPoint& point : section.measured.gemm) {
      const double work = 2 * point.m * point.n * point.k;
      by_type[point.type].points.emplace_back(work, work / point.seconds);
    }
  for (const auto& [type, series] : by_type) {
    const std::string name = fmt::format("gemm {}", dtype_name(type));
    if (name.find(wanted) == std::string::npos) continue;
    const std::vector<std::string> lines = plot_lines({.title = name + "  (rate over operations, one mark per shape)",
                                                       .x_unit = MetricUnit::kFlops,
                                                       .y_unit = MetricUnit::kFlopsPerSecond,
                                                       .series = {series}});
    drawing.lines.insert(drawing.lines.end(), lines.begin(), lines.end());
    drawing.lines.emplace_back();
  }
}

struct ShowProfileRequest {
  std::string profile;
  std::string plot;
};

RunResult show_profile(Session& session, const ShowProfileRequest& request) {
  MOESIM_TRY(session.check_output());
  MOESIM_ASSIGN(const Profile profile, load_named_profile(request.profile));
  const std::vector<NamedCurve> curves = curves_of(profile);
  Report report = session.new_report();
  report.inputs.push_back(input_record("profile", request.profile));
  report.add_rows("sections", fmt::format("Profile of {}", profile.device), section_table(profile));
  report.add_rows("parameters", "Parameters", parameter_table(profile)).shown =
      session.output().verbose ? SectionShown::kEverywhere : SectionShown::kMachinesOnly;
  report.add_rows("curves", "Measured curves", curve_table(curves));
  if (!request.plot.empty()) {
    const std::string wanted = request.plot == "all" ? "" : request.plot;
    for (const NamedCurve& curve : curves)
      if (curve.name.find(wanted) != std::string::npos) draw(curve, report.drawing);
    draw_gemms(profile, wanted, report.drawing);
    if (report.drawing.lines.empty())
      return usage_error(fmt::format("--plot: no curve is called '{}'", request.plot),
                         "the table of measured curves has their names; 'gemm' is one too");
  }
  MOESIM_TRY(session.emit(report));
  return kExitOk;
}

// --- diff

MetricTable parameter_diff(const Profile& a, const Profile& b) {
  MetricTable table({{"parameter", MetricUnit::kNone, "parameter", "section.name"},
                     {"first", MetricUnit::kNone, "first", "Value in the first profile"},
                     {"second", MetricUnit::kNone, "second", "Value in the second"},
                     {"ratio", MetricUnit::kFactor, "ratio", "Second over first"}});
  const auto all_of = [](const Profile& profile) {
    std::map<std::string, double> values;
    for (const ProfileSection& section : profile.sections)
      for (const auto& [name, value] : section.parameters) values[section.name + "." + name] = value;
    return values;
  };
  const std::map<std::string, double> first = all_of(a);
  std::map<std::string, double> second = all_of(b);
  for (const auto& [name, value] : first) {
    const auto found = second.find(name);
    if (found == second.end()) {
      table.add_row({name, value, {}, {}});
      continue;
    }
    if (found->second != value)
      table.add_row({name, value, found->second, value > 0 ? MetricValue(found->second / value) : MetricValue()});
    second.erase(found);
  }
  for (const auto& [name, value] : second) table.add_row({name, {}, value, {}});
  return table;
}

MetricTable curve_diff(const Profile& a, const Profile& b) {
  MetricTable table({{"curve", MetricUnit::kNone, "measured curve", "In either profile"},
                     {"sizes", MetricUnit::kNone, "sizes", "Of the first that the second's range holds"},
                     {"median_ratio", MetricUnit::kFactor, "median ratio", "Time of the second over that of the first"},
                     {"smallest_ratio", MetricUnit::kFactor, "smallest", "Of the ratios"},
                     {"largest_ratio", MetricUnit::kFactor, "largest", "Of the ratios"}});
  const std::vector<NamedCurve> second = curves_of(b);
  for (const NamedCurve& curve : curves_of(a)) {
    const auto other =
        std::ranges::find_if(second, [&](const NamedCurve& candidate) { return candidate.name == curve.name; });
    std::vector<double> ratios;
    if (other != second.end())
      for (const TimePoint& point : *curve.points)
        if (other->time->covers(point.bytes))
          ratios.push_back(other->time->at(point.bytes) / curve.time->at(point.bytes));
    if (ratios.empty())
      table.add_row({curve.name, std::int64_t{0}, {}, {}, {}});
    else
      table.add_row({curve.name, std::ssize(ratios), quantile(ratios, 0.5), quantile(ratios, 0), quantile(ratios, 1)});
  }
  return table;
}

RunResult diff_profiles(Session& session, const std::vector<std::string>& names) {
  MOESIM_TRY(session.check_output());
  MOESIM_ASSIGN(const Profile a, load_named_profile(names[0]));
  MOESIM_ASSIGN(const Profile b, load_named_profile(names[1]));
  Report report = session.new_report();
  report.inputs = {input_record("profile", names[0]), input_record("profile", names[1])};
  report.add_rows("parameters", fmt::format("{} and {}", a.device, b.device), parameter_diff(a, b));
  report.add_rows("curves", "Measured curves", curve_diff(a, b));
  MOESIM_TRY(session.emit(report));
  return kExitOk;
}

}  // namespace

void add_profile(CLI::App& app, Session& session) {
  CLI::App* profile = app.add_subcommand("profile", "What a calibration profile holds, and how two differ");
  profile->require_subcommand(1);

  CLI::App* show = profile->add_subcommand("show", "Sections with their errors, curves, plots of fit against data");
  show->footer(
      "moesim profile show profile.json\n"
      "# what was measured and what was fitted to it\n"
      "moesim profile show profile.json --plot all_gather\n"
      "moesim profile show shipped:h100-sxm5-80gb --json");
  auto request = std::make_shared<ShowProfileRequest>();
  add_profile_argument(*show, session, "profile", request->profile);
  show->add_option("--plot", request->plot, "Draw the curves whose names contain this; 'all' draws every one")
      ->option_text("NAME");
  session.add_output_options(*show);
  session.run_when_chosen(*show, [&session, request] { return show_profile(session, *request); });

  CLI::App* diff = profile->add_subcommand("diff", "Parameters and curves of two profiles side by side");
  diff->footer("moesim profile diff monday.json friday.json");
  auto names = std::make_shared<std::vector<std::string>>(2);
  add_profile_argument(*diff, session, "first", names->at(0));
  add_profile_argument(*diff, session, "second", names->at(1));
  session.add_output_options(*diff);
  session.run_when_chosen(*diff, [&session, names] { return diff_profiles(session, *names); });
}

}  // namespace moesim
