// moesim explain

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>

#include "sim/cli/commands/commands.hpp"
#include "sim/cli/plan_metrics.hpp"
#include "sim/cli/plan_place.hpp"
#include "sim/cli/scenario.hpp"
#include "sim/engine/critical_path.hpp"
#include "sim/lower/moe_schedule.hpp"
#include "sim/simulate/moe_choice.hpp"
#include "sim/simulate/what_if.hpp"

namespace moesim {
namespace {

struct ExplainRequest {
  std::string plan;
  ScenarioSources sources;
};

double seconds(Picoseconds time) { return static_cast<double>(time) / kPicosecondsPerSecond; }

struct CommunicationKind {
  Category category;
  Stream stream;
  GroupKind group;
};
constexpr std::array<CommunicationKind, 5> kCommunications = {{{Category::kTpComm, Stream::kTp, GroupKind::kTp},
                                                               {Category::kCpComm, Stream::kCp, GroupKind::kCp},
                                                               {Category::kEpComm, Stream::kEp, GroupKind::kEp},
                                                               {Category::kEspComm, Stream::kEsp, GroupKind::kEsp},
                                                               {Category::kDpComm, Stream::kDp, GroupKind::kDpCp}}};

// The outermost tier that a group crosses, which is the one that sets its pace.
std::string outermost_tier(const ClusterView& view, std::span<const RankId> ranks) {
  int outermost = -1;
  for (const RankId rank : ranks) outermost = std::max(outermost, view.meeting_tier(ranks.front(), rank));
  return outermost < 0 ? std::string() : view.tier(outermost).name;
}

// The entity whose breakdown the metrics show.
std::size_t pace_setter(const SimulatedStep& step) {
  for (std::size_t e = 0; e < step.priced.entities.size(); ++e)
    if (step.priced.entities[e].stage == step.metrics.breakdown.stage) return e;
  return 0;
}

MetricTable communication_table(const SimulatedStep& step, const ClusterView& view) {
  MetricTable table(
      {{"group", MetricUnit::kNone, "group", "Kind of communication group"},
       {"ranks", MetricUnit::kNone, "ranks", "In one group"},
       {"link", MetricUnit::kNone, "over", "Outermost tier that the group crosses"},
       {"busy_s", MetricUnit::kSeconds, "busy", "Its stream has something under way"},
       {"exposed_s", MetricUnit::kSeconds, "exposed", "The compute stream waits for it, or for it to begin"},
       {"hidden_share", MetricUnit::kRatio, "hidden", "Of the busy time, behind computing"}});
  const std::size_t entity = pace_setter(step);
  const EntityStatistics& statistics = step.replay.entities[entity];
  for (const CommunicationKind& kind : kCommunications) {
    double busy = seconds(statistics.busy[static_cast<std::size_t>(kind.stream)]);
    if (kind.group == GroupKind::kEp) busy += seconds(statistics.busy[static_cast<std::size_t>(Stream::kEpInside)]);
    const double exposed = step.metrics.breakdown.exposed[static_cast<std::size_t>(kind.category)].value();
    if (busy <= 0 && exposed <= 0) continue;
    const auto ranks = step.program.layout->group(kind.group, step.priced.entities[entity].representative);
    const std::string tier = outermost_tier(view, ranks);
    table.add_row({std::string(group_name(kind.group)), static_cast<std::int64_t>(ranks.size()),
                   tier.empty() ? MetricValue() : MetricValue(tier), busy, exposed,
                   busy > 0 ? MetricValue(std::max(0.0, 1 - exposed / busy)) : MetricValue()});
  }
  return table;
}

MetricTable critical_path_table(const SimulatedStep& step) {
  MetricTable table({{"category", MetricUnit::kNone, "category", "Stable name"},
                     {"time_s", MetricUnit::kSeconds, "on the path", "Sum of its operations on the critical path"},
                     {"share", MetricUnit::kRatio, "share", "Of the step"},
                     {"operations", MetricUnit::kNone, "operations", "On the path"}});
  std::array<std::pair<Picoseconds, std::int64_t>, kCategories> sums{};
  for (const std::uint32_t index : critical_path(step.replay)) {
    const Interval& interval = step.replay.intervals[index];
    const ReplayCall& call = step.priced.replay.entities[interval.entity].calls[interval.call];
    auto& [time, operations] =
        sums[static_cast<std::size_t>(category_of(step.program.blocks[call.block].ops[interval.op]))];
    time += interval.end - interval.start;
    ++operations;
  }
  std::vector<int> order;
  for (int c = 0; c < kCategories; ++c)
    if (sums[static_cast<std::size_t>(c)].second > 0) order.push_back(c);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    return sums[static_cast<std::size_t>(a)].first > sums[static_cast<std::size_t>(b)].first;
  });
  for (const int c : order) {
    const auto& [time, operations] = sums[static_cast<std::size_t>(c)];
    table.add_row({std::string(category_name(static_cast<Category>(c))), seconds(time),
                   seconds(time) / step.metrics.step_time.value(), operations});
  }
  return table;
}

MetricTable what_if_table(const std::vector<WhatIf>& experiments, Seconds now) {
  MetricTable table({{"key", MetricUnit::kNone, "key", "Stable name", MetricShown::kMachinesOnly},
                     {"change", MetricUnit::kNone, "if ...", "One thing changed"},
                     {"step_time_s", MetricUnit::kSeconds, "step", "Then"},
                     {"gain", MetricUnit::kRatio, "gain", "Of the step time; negative: a loss"},
                     {"fits", MetricUnit::kNone, "fits", "In the memory of today"}});
  for (const WhatIf& experiment : experiments)
    table.add_row({experiment.key, experiment.change, experiment.step_time.value(), 1 - experiment.step_time / now,
                   experiment.fits},
                  experiment.step_time < now ? RowTone::kPlain : RowTone::kFaint);
  return table;
}

// The plan under other schedules of the MoE layer, fastest first.
MetricTable moe_schedule_table(const std::vector<MoeAlternative>& alternatives, Seconds now) {
  const bool apart = std::any_of(alternatives.begin(), alternatives.end(),
                                 [](const MoeAlternative& one) { return one.backward_degree != one.degree; });
  MetricTable table({{"schedule", MetricUnit::kNone, "schedule", "Of the MoE layer"},
                     {"degree", MetricUnit::kNone, "pieces", "That it cuts token copies into, the best number"},
                     {"backward_degree", MetricUnit::kNone, "pieces back", "The same in the backward pass",
                      apart ? MetricShown::kEverywhere : MetricShown::kMachinesOnly},
                     {"shadows", MetricUnit::kNone, "shadows", "Experts that it shadows, the best number"},
                     {"own", MetricUnit::kNone, "the plan's", "As the plan is"},
                     {"step_time_s", MetricUnit::kSeconds, "step", "Then"},
                     {"gain", MetricUnit::kRatio, "gain", "Of the step time; negative: a loss"},
                     {"exposed_ep_s", MetricUnit::kSeconds, "EP exposed", "Waiting for dispatch and combine"},
                     {"exposed_esp_s", MetricUnit::kSeconds, "ESP exposed", "Waiting for shards of experts"},
                     {"exposed_tp_s", MetricUnit::kSeconds, "TP exposed", "Waiting for tensor parallelism"},
                     {"routing_s", MetricUnit::kSeconds, "routing", "Gate, permutation, sorting and copying"},
                     {"experts_s", MetricUnit::kSeconds, "experts", "Their computation"},
                     {"fits", MetricUnit::kNone, "fits", "In the memory of today"}});
  for (const MoeAlternative& one : alternatives) {
    const StepBreakdown& b = one.metrics.breakdown;
    const auto exposed = [&b](Category category) { return b.exposed[static_cast<std::size_t>(category)].value(); };
    const auto compute = [&b](Category category) { return b.compute[static_cast<std::size_t>(category)].value(); };
    table.add_row({one.schedule, std::int64_t{one.degree}, std::int64_t{one.backward_degree}, std::int64_t{one.shadows},
                   one.own, one.metrics.step_time.value(), 1 - one.metrics.step_time / now, exposed(Category::kEpComm),
                   exposed(Category::kEspComm), exposed(Category::kTpComm), compute(Category::kRouting),
                   compute(Category::kExperts), one.metrics.fits},
                  one.own ? RowTone::kGood : RowTone::kPlain);
  }
  return table;
}

std::string in_words(const MoeAlternative& one) {
  std::string words = one.schedule;
  if (one.backward_degree != one.degree)
    words += fmt::format(" in {} pieces forward and {} backward", one.degree, one.backward_degree);
  else if (one.degree > 1)
    words += fmt::format(" in {} pieces", one.degree);
  if (one.shadows > 0) words += fmt::format(" with {} shadowed expert{}", one.shadows, one.shadows > 1 ? "s" : "");
  return words;
}

// The plan's schedule against the fastest other one.
MetricTable moe_choice_record(const std::vector<MoeAlternative>& alternatives) {
  const auto own =
      std::find_if(alternatives.begin(), alternatives.end(), [](const MoeAlternative& a) { return a.own; });
  const auto other =
      std::find_if(alternatives.begin(), alternatives.end(), [](const MoeAlternative& a) { return !a.own; });
  return record_of({{{"schedule", MetricUnit::kNone, "the plan's", "Schedule of the MoE layer"}, in_words(*own)},
                    {{"against", MetricUnit::kNone, "best other", "Under the same layout"}, in_words(*other)},
                    {{"difference_s", MetricUnit::kSeconds, "the plan's step is longer by", "Negative: shorter"},
                     (own->metrics.step_time - other->metrics.step_time).value()},
                    {{"why", MetricUnit::kNone, "of that", "What the plan's schedule does in another time"},
                     difference_text(own->metrics, other->metrics)}});
}

MetricTable exchange_choice_table(const std::vector<ExchangeChoice>& choices, const Plan& plan) {
  MetricTable table({{"all_to_all", MetricUnit::kNone, "token exchange", "Its algorithm (docs/laws.md)"},
                     {"step_time_s", MetricUnit::kSeconds, "step", "Then"},
                     {"gain", MetricUnit::kRatio, "gain", "Of the step time; negative: a loss"},
                     {"chosen", MetricUnit::kNone, "chosen", "By the plan"},
                     {"fastest", MetricUnit::kNone, "fastest", "Of these; of equals the first"}});
  const auto best = std::min_element(choices.begin(), choices.end(),
                                     [](const auto& a, const auto& b) { return a.step_time < b.step_time; });
  // Not the step above: that is played with its intervals, and differs by rounding.
  const auto own = std::find_if(choices.begin(), choices.end(),
                                [&](const ExchangeChoice& choice) { return choice.algorithm == plan.all_to_all; });
  for (auto choice = choices.begin(); choice != choices.end(); ++choice)
    table.add_row({std::string(exchange_algorithm_name(choice->algorithm)), choice->step_time.value(),
                   1 - choice->step_time / own->step_time, choice == own, choice == best},
                  choice == best ? RowTone::kGood : RowTone::kPlain);
  return table;
}

RunResult run_explain(Session& session, const ExplainRequest& request) {
  MOESIM_TRY(session.check_output());
  MOESIM_ASSIGN(const PlanFile file, read_plan_file(request.plan));
  MOESIM_ASSIGN(const Scenario scenario, load_scenario(sources_for(request.plan, file, request.sources)));
  StepOptions options;
  options.replay.record_intervals = true;
  MOESIM_ASSIGN(const SimulatedStep step,
                in_plan_file(request.plan, simulate_step(file.plan, scenario.model.shape, *scenario.costs,
                                                         scenario.loads(), options)));
  MOESIM_ASSIGN(const std::vector<WhatIf> experiments,
                what_would_help(file.plan, scenario.model.shape, *scenario.costs, scenario.loads()));
  MOESIM_ASSIGN(const std::vector<MoeAlternative> alternatives,
                moe_alternatives(file.plan, scenario.model.shape, *scenario.costs, scenario.loads()));
  MOESIM_ASSIGN(const std::vector<ExchangeChoice> exchanges,
                under_each_exchange(file.plan, scenario.model.shape, *scenario.costs, scenario.loads()));
  Report report = session.new_report();
  report.inputs.push_back(input_record("plan", request.plan));
  std::vector<Metric> metrics = step_metrics(step.metrics);
  for (Metric& metric : metrics) metric.column.shown = MetricShown::kEverywhere;
  report.add_record("step", run_name(file.plan), record_of(std::move(metrics)));
  report.add_rows("breakdown", fmt::format("Where the time of stage {} goes", step.metrics.breakdown.stage.value()),
                  breakdown_table(step.metrics));
  report.add_rows("communication", "Communication", communication_table(step, *scenario.view));
  report.add_rows("critical_path", "Critical path", critical_path_table(step));
  if (alternatives.size() > 1) {
    report.add_record("moe_choice", "Why this MoE schedule", moe_choice_record(alternatives));
    report.add_rows("moe_schedules", "The plan under other MoE schedules",
                    moe_schedule_table(alternatives, step.metrics.step_time));
  }
  report.add_rows("what_if", "What would help most", what_if_table(experiments, step.metrics.step_time));
  report.add_rows("token_exchange", "Algorithms of the token exchange", exchange_choice_table(exchanges, file.plan));
  describe_scenario(report, scenario);
  report.notes.insert(report.notes.end(), step.notes.begin(), step.notes.end());
  const bool visits = std::ranges::any_of(alternatives, [](const MoeAlternative& other) {
    const auto schedule = find_moe_schedule(other.schedule);
    return !other.own && schedule && (*schedule)->visits();
  });
  if (visits && !visits_are_estimated(file.plan)) report.notes.emplace_back(kVisitsNote);
  MOESIM_TRY(session.emit(report));
  return kExitOk;
}

}  // namespace

void add_explain(CLI::App& app, Session& session) {
  CLI::App* command = app.add_subcommand("explain", "Where the time of a plan goes, and what would help most");
  command->footer(
      "moesim explain plans/01-TP1PP1EP8CP1.json\n"
      "moesim explain plan.json --trace recording.csv.zst --json | jq .what_if");
  auto request = std::make_shared<ExplainRequest>();
  command->add_option("plan", request->plan, "A plan file (docs/plan.md)")->option_text("PLAN")->required();
  add_scenario_options(*command, session, request->sources, SourceOptions::kOverridePlan);
  session.add_output_options(*command);
  session.run_when_chosen(*command, [&session, request] { return run_explain(session, *request); });
}

}  // namespace moesim
