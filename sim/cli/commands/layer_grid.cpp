// moesim layer --grid

#include "sim/cli/commands/layer_grid.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <thread>

#include "base/text.hpp"
#include "calibration/profile.hpp"
#include "models/cluster/cluster_source.hpp"
#include "sim/cli/sources.hpp"
#include "sim/layer/figures.hpp"
#include "sim/layer/grid_summary.hpp"

namespace moesim {
namespace {

struct GridHardware {
  std::vector<std::unique_ptr<const ClusterView>> views;
  std::vector<std::unique_ptr<const CostModel>> costs;
  std::vector<const CostModel*> models;
  std::vector<std::string> notes;
};

Result<GridHardware> load_hardware(const LayerGrid& grid, const std::vector<std::string>& more_profiles) {
  std::vector<std::string> names = more_profiles;
  names.insert(names.end(), grid.profiles.begin(), grid.profiles.end());
  MOESIM_ASSIGN(const std::vector<Profile> profiles, load_profiles(names));
  GridHardware hardware;
  std::set<std::string> devices;
  for (const GridCluster& cluster : grid.clusters) {
    MOESIM_ASSIGN(const ClusterSpec spec, load_cluster(cluster.cluster, cluster.nodes));
    MOESIM_ASSIGN(ClusterView view, compile(spec));
    hardware.views.push_back(std::make_unique<const ClusterView>(std::move(view)));
    hardware.costs.push_back(std::make_unique<const CostModel>(make_cost_model(*hardware.views.back(), profiles)));
    hardware.models.push_back(hardware.costs.back().get());
    devices.merge(device_names(*hardware.views.back()));
  }
  hardware.notes = notes_of_other_devices(names, profiles, devices, "the grid's clusters");
  return hardware;
}

Result<std::size_t> grid_baseline(const std::string& name) {
  if (name.empty()) return std::size_t{0};
  std::vector<std::string> names;
  for (const MoeSchedule* schedule : moe_schedules()) {
    if (schedule->name() == name) return names.size();
    names.emplace_back(schedule->name());
  }
  return usage_error(fmt::format("--baseline: unknown MoE schedule '{}'{}", name, did_you_mean(name, names)),
                     fmt::format("one of {}", fmt::join(names, ", ")));
}

std::vector<MetricValue> cell_place(const CellSummary& cell, const GridHardware& hardware) {
  return {std::int64_t{hardware.views[cell.cluster]->ranks()}, std::int64_t{cell.tp}, std::int64_t{cell.esp},
          std::int64_t{cell.layers}, std::int64_t{cell.dropped}};
}

std::vector<MetricColumn> place_columns() {
  return {{"ranks", MetricUnit::kNone, "GPUs", "Of the cluster"},
          {"tp", MetricUnit::kNone, "TP", "Parm's N_MP"},
          {"esp", MetricUnit::kNone, "ESP", "Parm's N_ESP"},
          {"layers", MetricUnit::kNone, "layers", "Of the grid in this cell"},
          {"dropped", MetricUnit::kNone, "dropped", "That the baseline has no memory for or cannot run"}};
}

// Every cell and schedule a row, for machines.
MetricTable cell_table(const GridSummary& summary, const GridTimes& times, const GridHardware& hardware,
                       const LayerGrid& grid) {
  std::vector<MetricColumn> columns = place_columns();
  columns.insert(columns.begin(), {"cluster", MetricUnit::kNone, "cluster", "As the grid names it"});
  for (MetricColumn column : std::vector<MetricColumn>{
           {"schedule", MetricUnit::kNone, "schedule", "Of the MoE layer"},
           {"compared", MetricUnit::kNone, "compared", "Layers that it and the baseline have a time for"},
           {"speedup_min", MetricUnit::kFactor, "least", "Over the baseline"},
           {"speedup_mean", MetricUnit::kFactor, "mean", "Over the baseline"},
           {"speedup_max", MetricUnit::kFactor, "most", "Over the baseline"},
           {"wins", MetricUnit::kNone, "wins", "Layers of which it is the fastest"},
           {"does_not_fit", MetricUnit::kNone, "no memory", "Layers that it has no memory for"}})
    columns.push_back(std::move(column));
  MetricTable table(std::move(columns));
  for (const CellSummary& cell : summary.cells)
    for (std::size_t s = 0; s < times.schedules.size(); ++s) {
      const SpeedUps& sum = cell.schedules[s];
      const bool any = sum.layers > 0;
      std::vector<MetricValue> values = cell_place(cell, hardware);
      values.insert(values.begin(), grid.clusters[cell.cluster].cluster);
      for (MetricValue value :
           {MetricValue(std::string(times.schedules[s]->name())), MetricValue(std::int64_t{sum.layers}),
            any ? MetricValue(sum.least) : MetricValue(), any ? MetricValue(sum.mean) : MetricValue(),
            any ? MetricValue(sum.most) : MetricValue(), MetricValue(std::int64_t{sum.wins}),
            MetricValue(std::int64_t{sum.does_not_fit})})
        values.push_back(std::move(value));
      table.add_row(std::move(values));
    }
  return table;
}

std::string range_text(const SpeedUps& sum) {
  return sum.layers == 0 ? "-" : fmt::format("{:.2f} {:.2f} {:.2f}", sum.least, sum.mean, sum.most);
}

enum class CellFigure { kSpeedUps, kWins };

// Every cell a row, every schedule a column, for people.
MetricTable pivot(const GridSummary& summary, const GridTimes& times, const GridHardware& hardware, CellFigure figure,
                  std::size_t baseline) {
  std::vector<MetricColumn> columns = place_columns();
  for (std::size_t s = 0; s < times.schedules.size(); ++s)
    if (figure == CellFigure::kWins || s != baseline) {
      const std::string name(times.schedules[s]->name());
      columns.push_back({name, MetricUnit::kNone, name, figure == CellFigure::kWins ? "Wins" : "least mean most"});
    }
  MetricTable table(std::move(columns));
  const auto add = [&](const CellSummary& cell, std::vector<MetricValue> values) {
    for (std::size_t s = 0; s < times.schedules.size(); ++s) {
      if (figure == CellFigure::kWins) values.emplace_back(std::int64_t{cell.schedules[s].wins});
      if (figure == CellFigure::kSpeedUps && s != baseline) values.emplace_back(range_text(cell.schedules[s]));
    }
    table.add_row(std::move(values));
  };
  for (const CellSummary& cell : summary.cells) add(cell, cell_place(cell, hardware));
  add(summary.all, {std::string("all"), {}, {}, std::int64_t{summary.all.layers}, std::int64_t{summary.all.dropped}});
  return table;
}

// Of how many layers a number of pieces is the schedule's best.
MetricTable degree_table(const GridSummary& summary, const GridTimes& times) {
  MetricTable table({{"schedule", MetricUnit::kNone, "schedule", "Of the MoE layer"},
                     {"degree", MetricUnit::kNone, "pieces", "That it cuts token copies into"},
                     {"backward_degree", MetricUnit::kNone, "pieces back", "The same in the backward pass"},
                     {"layers", MetricUnit::kNone, "layers", "Of which no other numbers are faster"}});
  for (const DegreeCount& count : summary.degrees)
    table.add_row({std::string(times.schedules[count.schedule]->name()), std::int64_t{count.degree},
                   std::int64_t{count.backward_degree}, std::int64_t{count.layers}});
  return table;
}

// For people: a row per schedule that is ever faster for being cut, a column per number of pieces of the forward pass.
MetricTable degree_pivot(const GridSummary& summary, const GridTimes& times) {
  std::map<std::size_t, std::map<int, int>> layers;
  std::set<int> degrees;
  for (const DegreeCount& count : summary.degrees) {
    layers[count.schedule][count.degree] += count.layers;
    degrees.insert(count.degree);
  }
  std::vector<MetricColumn> columns = {{"schedule", MetricUnit::kNone, "schedule", "Of the MoE layer"}};
  for (const int degree : degrees)
    columns.push_back({fmt::format("{}", degree), MetricUnit::kNone, fmt::format("in {}", degree), "Layers"});
  MetricTable table(std::move(columns));
  for (auto& [schedule, counts] : layers) {
    if (counts.rbegin()->first == 1) continue;
    std::vector<MetricValue> values = {std::string(times.schedules[schedule]->name())};
    for (const int degree : degrees) values.emplace_back(std::int64_t{counts[degree]});
    table.add_row(std::move(values));
  }
  return table;
}

// What another number of pieces backward than forward is worth.
MetricTable apart_table(std::span<const ApartSummary> schedules, const GridTimes& times) {
  MetricTable table({{"schedule", MetricUnit::kNone, "schedule", "Of the MoE layer"},
                     {"layers", MetricUnit::kNone, "layers", "That it has a time for"},
                     {"differ", MetricUnit::kNone, "want two", "Numbers of pieces, one forward and one backward"},
                     {"gain_mean", MetricUnit::kRatio, "gain", "Of these, over one number"},
                     {"gain_max", MetricUnit::kRatio, "at most", "The same, of the layer with the most"},
                     {"free_differ", MetricUnit::kNone, "if free, want two", "If nothing had to be cut again"},
                     {"free_gain_mean", MetricUnit::kRatio, "gain", "Of these, over one number"},
                     {"free_gain_max", MetricUnit::kRatio, "at most", "The same, of the layer with the most"}});
  for (const ApartSummary& one : schedules)
    table.add_row({std::string(times.schedules[one.schedule]->name()), std::int64_t{one.layers},
                   std::int64_t{one.differ.layers}, one.differ.mean_gain, one.differ.most_gain,
                   std::int64_t{one.for_free.layers}, one.for_free.mean_gain, one.for_free.most_gain});
  return table;
}

MetricTable rule_record(const RuleSummary& rule) {
  const std::int64_t wrong = rule.layers - rule.right;
  return record_of(
      {{{"layers", MetricUnit::kNone, "layers", "That S1 and S2 both have a time for"}, std::int64_t{rule.layers}},
       {{"right", MetricUnit::kNone, "right", "The rule named the faster one, or both are equally fast"},
        std::int64_t{rule.right}},
       {{"right_fraction", MetricUnit::kRatio, "of all", "Right picks"},
        rule.layers > 0 ? MetricValue(static_cast<double>(rule.right) / rule.layers) : MetricValue()},
       {{"wrong_pick_costs_mean", MetricUnit::kRatio, "a wrong pick costs", "Time over the other schedule's, less one"},
        wrong > 0 ? MetricValue(rule.mean_loss) : MetricValue()},
       {{"wrong_pick_costs_max", MetricUnit::kRatio, "at most", "The same, of the worst"},
        wrong > 0 ? MetricValue(rule.most_loss) : MetricValue()}});
}

}  // namespace

RunResult run_layer_grid(Session& session, const LayerGridRequest& request) {
  MOESIM_ASSIGN(const LayerGrid grid, load_grid(request.grid));
  MOESIM_ASSIGN(const std::size_t baseline, grid_baseline(request.baseline.empty() ? grid.baseline : request.baseline));
  MOESIM_ASSIGN(const GridHardware hardware, load_hardware(grid, request.profiles));
  const int threads =
      request.jobs > 0 ? request.jobs : static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  MOESIM_ASSIGN(const GridTimes times, play_grid(grid, hardware.models, moe_schedules(), request.options, threads));
  const GridSummary summary = summarize_grid(grid, times, baseline);
  Report report = session.new_report();
  report.inputs.push_back(input_record("grid", request.grid));
  for (const std::string& profile : request.profiles) report.inputs.push_back(input_record("profile", profile));
  report.add_rows("cells", "", cell_table(summary, times, hardware, grid)).shown = SectionShown::kMachinesOnly;
  report
      .add_rows("speedups", fmt::format("Speed-up over {} (least, mean, most)", times.schedules[baseline]->name()),
                pivot(summary, times, hardware, CellFigure::kSpeedUps, baseline))
      .shown = SectionShown::kPeopleOnly;
  report
      .add_rows("winners", "Layers of which a schedule is the fastest",
                pivot(summary, times, hardware, CellFigure::kWins, baseline))
      .shown = SectionShown::kPeopleOnly;
  report.add_rows("degrees", "", degree_table(summary, times)).shown = SectionShown::kMachinesOnly;
  if (MetricTable pieces = degree_pivot(summary, times); !pieces.rows().empty())
    report.add_rows("pieces", "Layers by their best number of pieces (forward)", std::move(pieces)).shown =
        SectionShown::kPeopleOnly;
  report.add_rows("passes_apart", "", apart_table(summary.apart, times)).shown = SectionShown::kMachinesOnly;
  std::vector<ApartSummary> apart = summary.apart;
  std::erase_if(apart, [](const ApartSummary& one) { return one.for_free.layers == 0; });
  if (!apart.empty())
    report.add_rows("backward_pieces", "Layers that want another number of pieces backward", apart_table(apart, times))
        .shown = SectionShown::kPeopleOnly;
  if (summary.rule) {
    report.add_record("parm_rule", "Parm's rule", rule_record(*summary.rule));
    report.notes.emplace_back(kReplayOfS2);
  } else {
    report.notes.emplace_back("Parm's rule is not judged: parm-s1 and parm-s2 are not both listed");
  }
  report.notes.insert(report.notes.end(), hardware.notes.begin(), hardware.notes.end());
  if (!grid.note.empty()) report.notes.push_back(grid.note);
  if (!request.plot.empty()) {
    MOESIM_TRY(write_figure(request.plot, grid_figure(grid, times, summary, baseline), session.overwrite()));
    session.say(fmt::format("wrote {}", request.plot));
  }
  MOESIM_TRY(session.emit(report));
  return kExitOk;
}

}  // namespace moesim
