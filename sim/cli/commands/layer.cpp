// moesim layer

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <set>

#include "base/text.hpp"
#include "sim/cli/commands/commands.hpp"
#include "sim/cli/commands/layer_grid.hpp"
#include "sim/cli/commands/layer_options.hpp"
#include "sim/layer/compare_layers.hpp"
#include "sim/layer/figures.hpp"

namespace moesim {
namespace {

// The tiers of the cluster over which anything is sent.
std::vector<int> used_tiers(const std::vector<ScheduleOutcome>& outcomes, const ClusterView& view) {
  std::vector<int> used;
  for (int tier = 0; tier < static_cast<int>(view.tiers().size()); ++tier)
    if (std::any_of(outcomes.begin(), outcomes.end(), [tier](const ScheduleOutcome& outcome) {
          return outcome.refused.empty() && outcome.result.sent_at(tier) > Bytes(0);
        }))
      used.push_back(tier);
  return used;
}

// The one that all others are compared with.
Result<const ScheduleOutcome*> baseline_of(const std::vector<ScheduleOutcome>& outcomes, const std::string& name) {
  std::vector<std::string> names;
  for (const ScheduleOutcome& outcome : outcomes) {
    if (name.empty() ? outcome.refused.empty() : outcome.schedule->name() == name) {
      if (!outcome.refused.empty())
        return usage_error(fmt::format("--baseline: {} cannot run this layer: {}", name, outcome.refused));
      return &outcome;
    }
    names.emplace_back(outcome.schedule->name());
  }
  if (name.empty()) return fail(ErrorKind::kNoFeasiblePlan, "no schedule can run this layer under this layout");
  return usage_error(fmt::format("--baseline: unknown MoE schedule '{}'{}", name, did_you_mean(name, names)),
                     fmt::format("one of {}", fmt::join(names, ", ")));
}

bool some_shadow(const std::vector<ScheduleOutcome>& outcomes) {
  return std::any_of(outcomes.begin(), outcomes.end(),
                     [](const ScheduleOutcome& outcome) { return outcome.shadows > 0; });
}

bool some_cut_apart(const std::vector<ScheduleOutcome>& outcomes) {
  return std::any_of(outcomes.begin(), outcomes.end(),
                     [](const ScheduleOutcome& outcome) { return outcome.backward_degree != outcome.degree; });
}

MetricTable schedule_table(const std::vector<ScheduleOutcome>& outcomes, const ScheduleOutcome& baseline,
                           const ClusterView& view) {
  const std::vector<int> tiers = used_tiers(outcomes, view);
  std::vector<MetricColumn> columns = {
      {"schedule", MetricUnit::kNone, "schedule", "Of the MoE layer (docs/schedules.md)"},
      {"degree", MetricUnit::kNone, "pieces", "That it cuts token copies into, the best number here"},
      {"backward_degree", MetricUnit::kNone, "pieces back", "The same in the backward pass",
       some_cut_apart(outcomes) ? MetricShown::kEverywhere : MetricShown::kMachinesOnly},
      {"time_s", MetricUnit::kSeconds, "time", "Forward and backward"},
      {"speedup", MetricUnit::kFactor, "speed-up", "Over the baseline"},
      {"forward_s", MetricUnit::kSeconds, "forward", "Forward pass"},
      {"backward_s", MetricUnit::kSeconds, "backward", "Backward pass"},
      {"exposed_communication_s", MetricUnit::kSeconds, "exposed", "Communication that no computation hides"}};
  for (const int tier : tiers)
    columns.push_back({view.tier(tier).name, MetricUnit::kBytes, fmt::format("by {}", view.tier(tier).name),
                       "What a rank sends to ranks that it meets there", MetricShown::kPeopleOnly});
  for (MetricColumn column : std::vector<MetricColumn>{
           {"flops", MetricUnit::kFlops, "FLOP", "Of matrix products, of a rank"},
           {"peak_memory_bytes", MetricUnit::kBytes, "memory", "Highest, of a rank"},
           {"fits", MetricUnit::kNone, "fits", "Beside the framework's reserve"},
           {"extrapolated_fraction", MetricUnit::kRatio, "", "Of operations priced outside their law's range",
            MetricShown::kMachinesOnly},
           {"shadows", MetricUnit::kNone, "shadows", "Shadowed experts, the best number here",
            some_shadow(outcomes) ? MetricShown::kEverywhere : MetricShown::kMachinesOnly},
           {"same_as", MetricUnit::kNone, "same as", "A schedule whose program is the same here"}})
    columns.push_back(std::move(column));
  MetricTable table(std::move(columns));
  for (const ScheduleOutcome& outcome : outcomes) {
    if (!outcome.refused.empty()) continue;
    const LayerResult& result = outcome.result;
    std::vector<MetricValue> values = {std::string(outcome.schedule->name()),
                                       std::int64_t{outcome.degree},
                                       std::int64_t{outcome.backward_degree},
                                       result.times.total().value(),
                                       baseline.result.times.total() / result.times.total(),
                                       result.times.forward.value(),
                                       result.times.backward.value(),
                                       result.exposed_communication().value()};
    for (const int tier : tiers) values.emplace_back(result.sent_at(tier).count());
    values.emplace_back(result.flops().value());
    values.emplace_back(result.memory.peak.count());
    values.emplace_back(result.fits);
    values.emplace_back(result.extrapolated_fraction);
    values.emplace_back(std::int64_t{outcome.shadows});
    values.emplace_back();
    if (!outcome.same_as.empty()) values.back() = std::string(outcome.same_as);
    table.add_row(std::move(values), result.fits ? RowTone::kPlain : RowTone::kBad);
  }
  return table;
}

// Every schedule in every number of pieces, and in two where they may be faster.
MetricTable degree_table(const std::vector<ScheduleOutcome>& outcomes) {
  MetricTable table(
      {{"schedule", MetricUnit::kNone, "schedule", "Of the MoE layer"},
       {"degree", MetricUnit::kNone, "pieces", "That it cuts token copies into"},
       {"backward_degree", MetricUnit::kNone, "pieces back", "The same in the backward pass"},
       {"shadows", MetricUnit::kNone, "shadows", "Shadowed experts, the best number with it"},
       {"time_s", MetricUnit::kSeconds, "time", "Forward and backward"},
       {"forward_s", MetricUnit::kSeconds, "forward", "Forward pass"},
       {"backward_s", MetricUnit::kSeconds, "backward", "Backward pass"},
       {"exposed_communication_s", MetricUnit::kSeconds, "exposed", "Communication that no computation hides"},
       {"peak_memory_bytes", MetricUnit::kBytes, "memory", "Highest, of a rank"},
       {"fits", MetricUnit::kNone, "fits", "Beside the framework's reserve"}});
  for (const ScheduleOutcome& outcome : outcomes)
    for (const DegreeOutcome& one : outcome.degrees)
      table.add_row({std::string(outcome.schedule->name()), std::int64_t{one.degree}, std::int64_t{one.backward_degree},
                     std::int64_t{one.shadows}, one.times.total().value(), one.times.forward.value(),
                     one.times.backward.value(), one.exposed_communication.value(), one.peak_memory.count(), one.fits});
  return table;
}

// For people: a row per schedule that has a choice, a column per number of pieces in both passes.
MetricTable degree_pivot(const std::vector<ScheduleOutcome>& outcomes) {
  std::set<int> degrees;
  for (const ScheduleOutcome& outcome : outcomes)
    for (const DegreeOutcome& one : outcome.degrees) degrees.insert(one.degree);
  std::vector<MetricColumn> columns = {{"schedule", MetricUnit::kNone, "schedule", "Of the MoE layer"}};
  for (const int degree : degrees)
    columns.push_back({fmt::format("{}", degree), MetricUnit::kSeconds, fmt::format("in {}", degree), "Time"});
  MetricTable table(std::move(columns));
  for (const ScheduleOutcome& outcome : outcomes) {
    if (outcome.degrees.size() < 2) continue;
    std::vector<MetricValue> values = {std::string(outcome.schedule->name())};
    for (const int degree : degrees) {
      const auto one = std::find_if(outcome.degrees.begin(), outcome.degrees.end(), [degree](const DegreeOutcome& o) {
        return o.degree == degree && o.backward_degree == degree;
      });
      values.push_back(one == outcome.degrees.end() ? MetricValue() : MetricValue(one->times.total().value()));
    }
    table.add_row(std::move(values));
  }
  return table;
}

MetricTable refused_table(const std::vector<ScheduleOutcome>& outcomes) {
  MetricTable table({{"schedule", MetricUnit::kNone, "schedule", "Of the MoE layer"},
                     {"reason", MetricUnit::kNone, "why not", "Why it cannot run this layer"}});
  for (const ScheduleOutcome& outcome : outcomes)
    if (!outcome.refused.empty()) table.add_row({std::string(outcome.schedule->name()), outcome.refused});
  return table;
}

// What a rank sends, a row per schedule and tier.
MetricTable traffic_table(const std::vector<ScheduleOutcome>& outcomes, const ClusterView& view) {
  MetricTable table({{"schedule", MetricUnit::kNone, "schedule", "Of the MoE layer"},
                     {"tier", MetricUnit::kNone, "tier", "At which a rank meets those that it sends to"},
                     {"link", MetricUnit::kNone, "link", "Its kind"},
                     {"forward_bytes", MetricUnit::kBytes, "forward", "That the busiest rank sends"},
                     {"backward_bytes", MetricUnit::kBytes, "backward", "That the busiest rank sends"}});
  for (const ScheduleOutcome& outcome : outcomes)
    for (const int tier : used_tiers(outcomes, view)) {
      if (!outcome.refused.empty()) continue;
      const auto t = static_cast<std::size_t>(tier);
      table.add_row({std::string(outcome.schedule->name()), view.tier(tier).name,
                     std::string(link_class_name(view.tier(tier).link)), outcome.result.forward_work.sent_bytes[t],
                     outcome.result.backward_work.sent_bytes[t]});
    }
  return table;
}

// Where the time goes, a row per schedule and category that takes any.
MetricTable category_table(const std::vector<ScheduleOutcome>& outcomes) {
  MetricTable table({{"schedule", MetricUnit::kNone, "schedule", "Of the MoE layer"},
                     {"category", MetricUnit::kNone, "category", "Of operations"},
                     {"compute_s", MetricUnit::kSeconds, "computed", "The compute stream runs it"},
                     {"exposed_s", MetricUnit::kSeconds, "waited for", "The compute stream waits for it"}});
  for (const ScheduleOutcome& outcome : outcomes) {
    if (!outcome.refused.empty()) continue;
    for (std::size_t c = 0; c < static_cast<std::size_t>(kCategories); ++c) {
      const Seconds computed = outcome.result.compute[c];
      const Seconds exposed = outcome.result.exposed[c];
      if (computed + exposed > Seconds(0))
        table.add_row({std::string(outcome.schedule->name()), std::string(category_name(static_cast<Category>(c))),
                       computed.value(), exposed.value()});
    }
  }
  return table;
}

// The same for people: a row per category, a column per schedule, computed and waited for in one.
MetricTable category_pivot(const std::vector<ScheduleOutcome>& outcomes) {
  std::vector<MetricColumn> columns = {{"category", MetricUnit::kNone, "", "Of operations"}};
  for (const ScheduleOutcome& outcome : outcomes)
    if (outcome.refused.empty())
      columns.push_back({"seconds", MetricUnit::kSeconds, std::string(outcome.schedule->name()), "Seconds"});
  MetricTable table(std::move(columns));
  for (std::size_t c = 0; c < static_cast<std::size_t>(kCategories); ++c) {
    std::vector<MetricValue> values = {std::string(category_description(static_cast<Category>(c)))};
    Seconds sum;
    for (const ScheduleOutcome& outcome : outcomes) {
      if (!outcome.refused.empty()) continue;
      const Seconds time = outcome.result.compute[c] + outcome.result.exposed[c];
      sum += time;
      values.emplace_back(time.value());
    }
    if (sum > Seconds(0)) table.add_row(std::move(values));
  }
  return table;
}

// Which algorithm of the token exchange suits each schedule, a row per schedule and algorithm.
MetricTable exchange_table(const std::vector<ScheduleOutcome>& outcomes,
                           const std::vector<ExchangeOutcome>& exchanges) {
  MetricTable table(
      {{"schedule", MetricUnit::kNone, "schedule", "Of the MoE layer"},
       {"all_to_all", MetricUnit::kNone, "token exchange", "Its algorithm (docs/laws.md)"},
       {"time_s", MetricUnit::kSeconds, "time", "Forward and backward"},
       {"exposed_communication_s", MetricUnit::kSeconds, "exposed", "Communication that no computation hides"},
       {"speedup", MetricUnit::kFactor, "speed-up", "Over linear under the same schedule"},
       {"best", MetricUnit::kNone, "best", "The fastest of its schedule; of equals the first"}});
  for (std::size_t i = 0; i < exchanges.size();) {
    std::size_t end = i;
    std::size_t best = i;
    Seconds linear;
    for (; end < exchanges.size() && exchanges[end].schedule == exchanges[i].schedule; ++end) {
      if (exchanges[end].times.total() < exchanges[best].times.total()) best = end;
      if (exchanges[end].algorithm == ExchangeAlgorithm::kLinear) linear = exchanges[end].times.total();
    }
    for (; i < end; ++i)
      table.add_row({std::string(outcomes[exchanges[i].schedule].schedule->name()),
                     std::string(exchange_algorithm_name(exchanges[i].algorithm)), exchanges[i].times.total().value(),
                     exchanges[i].exposed_communication.value(), linear / exchanges[i].times.total(), i == best},
                    i == best ? RowTone::kGood : RowTone::kPlain);
  }
  return table;
}

// The same for people: a row per schedule, a column per algorithm.
MetricTable exchange_pivot(const std::vector<ScheduleOutcome>& outcomes,
                           const std::vector<ExchangeOutcome>& exchanges) {
  std::vector<MetricColumn> columns = {{"schedule", MetricUnit::kNone, "schedule", "Of the MoE layer"}};
  for (const std::string& name : exchange_algorithm_names())
    columns.push_back({name, MetricUnit::kSeconds, name, "Forward and backward"});
  MetricTable table(std::move(columns));
  const std::size_t width = exchange_algorithms().size();
  for (std::size_t i = 0; i < exchanges.size(); i += width) {
    std::vector<MetricValue> values = {std::string(outcomes[exchanges[i].schedule].schedule->name())};
    for (std::size_t a = 0; a < width; ++a) values.emplace_back(exchanges[i + a].times.total().value());
    table.add_row(std::move(values));
  }
  return table;
}

const ScheduleOutcome* applicable(const std::vector<ScheduleOutcome>& outcomes, std::string_view name) {
  for (const ScheduleOutcome& outcome : outcomes)
    if (outcome.schedule->name() == name && outcome.refused.empty()) return &outcome;
  return nullptr;
}

void add_parm_rule(Report& report, const LayerCase& layer, const CostModel& costs, const LayerOptions& options,
                   const std::vector<ScheduleOutcome>& outcomes) {
  const ParmTimes times = ParmRule(costs, *layer.layout).times(layer, options.passes);
  const ParmChoice choice = choose_schedule(times);
  const ScheduleOutcome* s1 = applicable(outcomes, kParmS1);
  const ScheduleOutcome* s2 = applicable(outcomes, kParmS2);
  MetricValue replayed;
  MetricValue agrees;
  if (s1 != nullptr && s2 != nullptr) {
    const bool second = s2->result.times.total() < s1->result.times.total();
    const std::string_view best = second ? kParmS2 : kParmS1;
    replayed = std::string(best);
    // Where both take the same time either choice is right.
    agrees = best == choice_name(choice) || s1->result.times.total() == s2->result.times.total();
    if (layer.plan.sizes().tp > 1) report.notes.emplace_back(kReplayOfS2);
  } else {
    report.notes.push_back(fmt::format("Parm's choice is not compared with a replay: {} is not listed here",
                                       s1 == nullptr ? kParmS1 : kParmS2));
  }
  report.add_record(
      "parm_rule", "Parm's rule",
      record_of({{{"choice", MetricUnit::kNone, "choice", "Of the closed form"}, std::string(choice_name(choice))},
                 {{"replay", MetricUnit::kNone, "faster when replayed", "Of the two"}, replayed},
                 {{"agrees", MetricUnit::kNone, "agree", "Whether the two are the same"}, agrees},
                 {{"closed_form.s1_communication_s", MetricUnit::kSeconds, "S1, communication",
                   "By the closed form, without the experts"},
                  times.s1.value()},
                 {{"closed_form.s2_communication_s", MetricUnit::kSeconds, "S2, communication",
                   "By the closed form, without the experts"},
                  times.s2.value()},
                 {{"closed_form.base_communication_s", MetricUnit::kSeconds, "default order, communication",
                   "By the closed form, without the experts"},
                  times.base.value()}}));
}

Status write_figures(const Session& session, const LayerRequest& request, const LayerCase& layer,
                     const std::vector<ScheduleOutcome>& outcomes) {
  if (request.figures.empty()) return {};
  int written = 0;
  for (const ScheduleOutcome& outcome : outcomes) {
    if (!outcome.refused.empty()) continue;
    const std::string path = fmt::format("{}/{}.svg", request.figures, outcome.schedule->name());
    MOESIM_TRY(write_output(path, timelines_figure(layer_text(layer), {&outcome, 1}), session.overwrite()));
    ++written;
  }
  session.say(fmt::format("wrote {} figures to {}", written, request.figures));
  return {};
}

RunResult run_one_layer(Session& session, const LayerRequest& request) {
  MOESIM_TRY(prepare_folder(request.figures, session.overwrite()));
  MOESIM_ASSIGN(const LayerScenario scenario, load_layer_scenario(request));
  MOESIM_ASSIGN(const LayerCase layer, layer_case_of(request, scenario));
  const LayerOptions options = request.options();
  MOESIM_ASSIGN(const std::vector<ScheduleOutcome> outcomes,
                compare_schedules(layer, *scenario.scenario.costs, moe_schedules(), options));
  MOESIM_ASSIGN(const ScheduleOutcome* baseline, baseline_of(outcomes, request.baseline));
  Report report = session.new_report();
  report.add_rows("schedules", fmt::format("One MoE layer: {}", layer_text(layer)),
                  schedule_table(outcomes, *baseline, *scenario.scenario.view));
  report.add_rows("degrees", "", degree_table(outcomes)).shown = SectionShown::kMachinesOnly;
  if (MetricTable pieces = degree_pivot(outcomes); !pieces.rows().empty())
    report.add_rows("pieces", "Time by the number of pieces", std::move(pieces)).shown = SectionShown::kPeopleOnly;
  report.add_rows("breakdown", "", category_table(outcomes)).shown = SectionShown::kMachinesOnly;
  report.add_rows("traffic", "", traffic_table(outcomes, *scenario.scenario.view)).shown = SectionShown::kMachinesOnly;
  MOESIM_ASSIGN(const std::vector<ExchangeOutcome> exchanges,
                compare_exchanges(layer, *scenario.scenario.costs, outcomes, options));
  report.add_rows("exchanges", "", exchange_table(outcomes, exchanges)).shown = SectionShown::kMachinesOnly;
  if (!exchanges.empty())
    report
        .add_rows("exchange_algorithms", "The same by the algorithm of the token exchange",
                  exchange_pivot(outcomes, exchanges))
        .shown = SectionShown::kPeopleOnly;
  report
      .add_record("regime", "",
                  record_of({{{"name", MetricUnit::kNone, "regime", "How token exchanges are priced"},
                              std::string(regime_name(scenario.scenario.costs->regime()))},
                             {{"all_to_all", MetricUnit::kNone, "token exchange", "Its algorithm in the tables"},
                              std::string(exchange_algorithm_name(layer.plan.all_to_all))}}))
      .shown = SectionShown::kMachinesOnly;
  report.add_rows("categories", "Where the time goes", category_pivot(outcomes)).shown = SectionShown::kPeopleOnly;
  add_parm_rule(report, layer, *scenario.scenario.costs, options, outcomes);
  if (MetricTable refused = refused_table(outcomes); !refused.rows().empty())
    report.add_rows("not_applicable", "Schedules that cannot run it", std::move(refused));
  describe_scenario(report, scenario.scenario);
  report.notes.push_back(boundary_note(layer, options));
  if (scenario.scenario.costs->regime() == ExchangeRegime::kFlows)
    report.notes.emplace_back("token exchanges are priced as flows that share links");
  if (compresses_rows(layer.plan)) report.notes.push_back(wire_note(layer.plan));
  for (const std::string& note : layer.loads->notes) report.notes.push_back(note);
  const bool visits = std::ranges::any_of(outcomes, [](const ScheduleOutcome& outcome) {
    return outcome.refused.empty() && outcome.program.loads->visits != nullptr;
  });
  if (visits) report.notes.emplace_back(kVisitsNote);
  for (const ScheduleOutcome& outcome : outcomes) {
    if (!outcome.refused.empty() || !outcome.same_as.empty()) continue;
    for (std::string& note : outcome.schedule->notes(outcome.program.plan)) report.notes.push_back(std::move(note));
  }
  if (!request.plot.empty()) {
    MOESIM_TRY(write_figure(request.plot, timelines_figure(layer_text(layer), outcomes), session.overwrite()));
    session.say(fmt::format("wrote {}", request.plot));
  }
  MOESIM_TRY(write_figures(session, request, layer, outcomes));
  MOESIM_TRY(session.emit(report));
  return kExitOk;
}

RunResult run_layer(Session& session, const LayerRequest& request) {
  MOESIM_TRY(session.check_output());
  MOESIM_TRY(check_figure(request.plot, session.overwrite()));
  if (request.grid.empty()) return run_one_layer(session, request);
  if (request.names_a_layer())
    return usage_error("a grid names its own clusters, sizes and layouts",
                       "leave the options of a single layer out; --profile and those of what is counted may stay");
  return run_layer_grid(session, {request.grid, request.sources.profiles, request.baseline, request.plot, request.jobs,
                                  request.options()});
}

}  // namespace

void add_layer(CLI::App& app, Session& session) {
  CLI::App* command = app.add_subcommand("layer", "One MoE layer under every schedule: time, traffic, work, memory");
  command->footer(
      "moesim layer --model zoo:mixtral-8x7b --cluster preset:h100 --nodes 2 --tp 2 --esp 2 --seq 4096\n"
      "# plain sizes; the capacity is padded, as in the papers\n"
      "moesim layer --cluster preset:rtx2080ti --batch 4 --seq 1024 --hidden 1600 --expert-width 6400 --experts 8 \\\n"
      "  --top-k 2 --capacity-factor 1.2 --precision fp32 --tp 4 --esp 4 --plot timelines.svg\n"
      "# a figure of each schedule\n"
      "moesim layer --model zoo:mixtral-8x7b --cluster preset:h100 --nodes 2 --tp 2 --esp 2 --figures figures\n"
      "# every algorithm of the token exchange, as flows that share links\n"
      "moesim layer --model zoo:mixtral-8x7b --cluster preset:h100 --nodes 4 --regime flows\n"
      "# a whole grid: speed-ups by TP and ESP, who wins, and how well Parm's rule chose\n"
      "moesim layer --grid builtin:parm-1296 --plot grid.svg");
  auto request = std::make_shared<LayerRequest>();
  add_layer_options(*command, session, *request);
  session.add_output_options(*command);
  session.run_when_chosen(*command, [&session, request] { return run_layer(session, *request); });
}

}  // namespace moesim
