// moesim rank

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <thread>

#include "models/precision.hpp"
#include "sim/cli/commands/commands.hpp"
#include "sim/cli/commands/rank_online.hpp"
#include "sim/cli/plan_metrics.hpp"
#include "sim/cli/scenario.hpp"
#include "sim/cli/space_options.hpp"
#include "sim/lower/moe_schedule.hpp"
#include "sim/search/search.hpp"

namespace moesim {
namespace {

struct RankRequest {
  ScenarioSources sources;
  SpaceOptions space;
  OnlineRequest online;
  int top = 10;
  int jobs = 0;  // 0: as many as there are cores
  std::string save_plans;
};

// What a row of the table for people has no room for: they read it below, or it is the same in all rows.
bool is_for_machines(std::string_view key) { return key == "zero_dense" || key == "zero_expert" || key == "fits"; }

// Speeds of the static step, beside the online one.
bool is_static_speed(std::string_view key) { return key == "tokens_per_s_per_gpu" || key == "mfu"; }

// `online`: in the order of the plans, or empty.
MetricTable plan_table(const std::vector<RankedPlan>& plans, const std::vector<OnlinePlan>& online) {
  MetricTable table;
  const bool several = std::any_of(plans.begin(), plans.end(), [](const RankedPlan& ranked) {
    return ranked.plan.moe_schedule != Plan{}.moe_schedule;
  });
  const bool cut =
      std::any_of(plans.begin(), plans.end(), [](const RankedPlan& ranked) { return ranked.plan.moe_degree > 1; });
  const bool cut_apart = std::any_of(plans.begin(), plans.end(),
                                     [](const RankedPlan& ranked) { return ranked.plan.moe_backward_degree > 0; });
  const bool shadows =
      std::any_of(plans.begin(), plans.end(), [](const RankedPlan& ranked) { return ranked.plan.moe_shadows > 0; });
  const bool exchanges = std::any_of(
      plans.begin(), plans.end(), [](const RankedPlan& ranked) { return ranked.plan.all_to_all != Plan{}.all_to_all; });
  for (std::size_t i = 0; i < plans.size(); ++i) {
    const RankedPlan& ranked = plans[i];
    std::vector<Metric> row = {
        {{"rank", MetricUnit::kNone, "rank", "1 is the fastest"}, static_cast<std::int64_t>(i + 1)},
        {{"name", MetricUnit::kNone, "name", "Run name", MetricShown::kMachinesOnly}, run_name(ranked.plan)}};
    for (Metric& metric : plan_metrics(ranked.plan)) row.push_back(std::move(metric));
    row.push_back(
        {{"zero", MetricUnit::kNone, "ZeRO", "Stages for dense and for expert parameters", MetricShown::kPeopleOnly},
         fmt::format("{}/{}", static_cast<int>(ranked.plan.zero_dense), static_cast<int>(ranked.plan.zero_expert))});
    for (Metric& metric : step_metrics(ranked.metrics)) row.push_back(std::move(metric));
    if (!online.empty())
      for (Metric& metric : online_metrics(online[i], ranked.metrics)) row.push_back(std::move(metric));
    row.push_back({{"regime", MetricUnit::kNone, "regime", "ops: every operation replayed", MetricShown::kMachinesOnly},
                   std::string("ops")});
    row.push_back({{"bound_s", MetricUnit::kSeconds, "bound", "Closed form that is never above the replay",
                    MetricShown::kMachinesOnly},
                   ranked.bound.value()});
    row.push_back({{"reason", MetricUnit::kNone, "reason", "Why it stands where it stands", MetricShown::kMachinesOnly},
                   ranked.reason});
    for (Metric& metric : row) {
      if (is_for_machines(metric.column.key) || (!online.empty() && is_static_speed(metric.column.key)))
        metric.column.shown = MetricShown::kMachinesOnly;
      if (metric.column.key == "moe_schedule" && several) metric.column.shown = MetricShown::kEverywhere;
      if (metric.column.key == "moe_degree" && cut) metric.column.shown = MetricShown::kEverywhere;
      if (metric.column.key == "moe_backward_degree" && cut_apart) metric.column.shown = MetricShown::kEverywhere;
      if (metric.column.key == "moe_shadows" && shadows) metric.column.shown = MetricShown::kEverywhere;
      if (metric.column.key == "all_to_all" && exchanges) metric.column.shown = MetricShown::kEverywhere;
    }
    add_record_row(table, row, i == 0 ? RowTone::kGood : RowTone::kPlain);
  }
  return table;
}

// On lines of their own: beside the plans they would make the table wider than a terminal.
MetricTable reason_table(const std::vector<RankedPlan>& plans, const std::vector<OnlinePlan>& online) {
  MetricTable table({{"rank", MetricUnit::kNone, online.empty() ? "rank" : "static rank", ""},
                     {"reason", MetricUnit::kNone, "why it stands there", ""}});
  for (std::size_t i = 0; i < plans.size(); ++i) {
    const std::int64_t rank = online.empty() ? static_cast<std::int64_t>(i + 1) : online[i].static_rank;
    table.add_row({rank, plans[i].reason}, i == 0 ? RowTone::kGood : RowTone::kPlain);
  }
  return table;
}

std::string degrees_text(const SearchSpace& space) {
  return space.moe_degree.empty() ? std::string("all of each") : fmt::format("{}", fmt::join(space.moe_degree, ", "));
}

std::string backward_degrees_text(const SearchSpace& space) {
  return space.moe_backward_degree.empty() ? std::string("as forward")
                                           : fmt::format("{}", fmt::join(space.moe_backward_degree, ", "));
}

std::string shadows_text(const SearchSpace& space) { return fmt::format("{}", fmt::join(space.moe_shadows, ", ")); }

std::string schedules_text(const SearchSpace& space) {
  std::vector<std::string_view> left_out;
  for (const MoeSchedule* schedule : moe_schedules())
    if (std::ranges::find(space.moe_schedule, schedule->name()) == space.moe_schedule.end())
      left_out.push_back(schedule->name());
  if (left_out.empty()) return "all";
  if (left_out.size() < space.moe_schedule.size()) return fmt::format("all but {}", fmt::join(left_out, ", "));
  return fmt::format("{}", fmt::join(space.moe_schedule, ", "));
}

MetricTable certificate_record(const Certificate& certificate, const SearchSpace& space) {
  std::vector<Metric> metrics = {
      {{"moe_schedules", MetricUnit::kNone, "MoE schedules searched", "More with --moe-schedule"},
       schedules_text(space)},
      {{"moe_degrees", MetricUnit::kNone, "in numbers of pieces", "Others with --moe-degree"}, degrees_text(space)},
      {{"moe_backward_degrees", MetricUnit::kNone, "and in backward passes", "Others with --moe-backward-degree"},
       backward_degrees_text(space)},
      {{"moe_shadows", MetricUnit::kNone, "with shadowed experts", "Where they shadow any; others with --moe-shadows"},
       shadows_text(space)},
      {{"considered", MetricUnit::kNone, "plans considered", "Combinations of the space"}, certificate.considered},
      {{"bounded", MetricUnit::kNone, "bounded", "Given a closed-form bound"}, certificate.bounded},
      {{"replayed", MetricUnit::kNone, "replayed", "Operation by operation"}, certificate.replayed},
      {{"proven", MetricUnit::kNone, "true top of the space",
        "No plan of the space that is not shown is faster within the model"},
       certificate.proven},
      {{"gap", MetricUnit::kRatio, "gap", "How much better a plan that was not replayed could be"}, certificate.gap},
      {{"largest_possible_gain_s", MetricUnit::kSeconds, "largest possible gain", "The same as a time",
        MetricShown::kMachinesOnly},
       certificate.largest_possible_gain.value()}};
  for (std::size_t i = 0; i < certificate.pruned.size(); ++i) {
    const auto reason = static_cast<Pruned>(i);
    const MetricShown shown = certificate.pruned[i] > 0 ? MetricShown::kEverywhere : MetricShown::kMachinesOnly;
    metrics.push_back({{fmt::format("pruned.{}", pruned_name(reason)), MetricUnit::kNone,
                        fmt::format("left out: {}", pruned_description(reason)), "", shown},
                       certificate.pruned[i]});
  }
  return record_of(std::move(metrics));
}

Status save_plans(const Session& session, const RankRequest& request, const std::vector<RankedPlan>& plans) {
  if (request.save_plans.empty()) return {};
  for (std::size_t i = 0; i < plans.size(); ++i) {
    const ScenarioSources& s = request.sources;
    const PlanFile file{plans[i].plan, s.model, s.cluster, s.nodes, s.trace};
    const std::string path = fmt::format("{}/{:02}-{}.json", request.save_plans, i + 1, run_name(plans[i].plan));
    MOESIM_TRY(write_output(path, plan_to_json(file, 2) + "\n", session.overwrite()));
  }
  session.say(fmt::format("wrote {} plans to {}", plans.size(), request.save_plans));
  return {};
}

RunResult run_rank(Session& session, const RankRequest& request) {
  MOESIM_TRY(session.check_output());
  // Now, because the end of the search would be late to hear of it.
  MOESIM_TRY(prepare_folder(request.save_plans, session.overwrite()));
  MOESIM_TRY(find_precision(request.space.precision));
  MOESIM_TRY(check_online(request.online, request.sources));
  MOESIM_ASSIGN(const Scenario scenario, load_scenario(request.sources));
  MOESIM_ASSIGN(const SearchSpace space, space_for(request.space, scenario));
  MOESIM_ASSIGN(const OnlineRecording recording, load_online(scenario, request.online));
  const StopToken stop = Session::stop();
  SearchOptions options;
  options.top = request.top;
  options.threads =
      request.jobs > 0 ? request.jobs : static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  options.stop = stop.flag();
  Result<RankResult> ranked = [&] {
    const std::unique_ptr<ProgressSink> progress = session.progress("rank");
    options.progress = [&](std::int64_t done, std::int64_t total, std::string_view stage) {
      progress->update(static_cast<std::uint64_t>(done), static_cast<std::uint64_t>(total), stage);
    };
    return rank_plans(scenario.model.shape, *scenario.costs, scenario.loads(), space, options);
  }();
  if (!ranked && stop.stop_requested())
    return fail(ErrorKind::kInterrupted, "interrupted before any plan was replayed");
  if (!ranked) return tl::unexpected(ranked.error());
  const std::vector<OnlinePlan> online =
      order_online(ranked->plans, scenario, request.online, recording, options.threads);
  Report report = session.new_report();
  report.add_rows("plans", "", plan_table(ranked->plans, online));
  report.add_rows("reasons", "", reason_table(ranked->plans, online)).shown = SectionShown::kPeopleOnly;
  if (!online.empty()) describe_online(report, online, request.online);
  MOESIM_TRY(add_balanced_choice(report, ranked->plans, online, scenario, space, request.online, options.threads));
  report.add_record("certificate", "Certificate", certificate_record(ranked->certificate, space));
  describe_scenario(report, scenario);
  report.notes.insert(report.notes.end(), ranked->notes.begin(), ranked->notes.end());
  if (!ranked->plans.empty() && compresses_rows(ranked->plans.front().plan))
    report.notes.push_back(wire_note(ranked->plans.front().plan));
  MOESIM_TRY(session.emit(report));
  MOESIM_TRY(save_plans(session, request, ranked->plans));
  return stop.stop_requested() ? static_cast<int>(ErrorKind::kInterrupted) : kExitOk;
}

}  // namespace

void add_rank(CLI::App& app, Session& session) {
  CLI::App* command =
      app.add_subcommand("rank", "Ranks every layout that divides and fits, with the reason for its place");
  command->footer(
      "moesim rank --model zoo:mixtral-8x7b --cluster preset:h100 --nodes 8 --seq 4096 --global-batch 1024\n"
      "moesim rank --model config.json --cluster mine.json --trace recording.csv.zst --seq 4096 --global-batch 512 "
      "--json\n"
      "# values: 1,2,4 or START:END:xFACTOR or START:END:+STEP; keep the best three as files\n"
      "moesim rank --model zoo:mixtral-8x7b --cluster preset:h100 --nodes 8 --global-batch 1024 --ep 2:8:x2 "
      "--recompute none \\\n"
      "  --top 3 --save-plans plans\n"
      "# every schedule of the MoE layer, in one, two and four pieces\n"
      "moesim rank --model zoo:mixtral-8x7b --cluster preset:h100 --nodes 8 --global-batch 1024 --moe-schedule all "
      "--moe-degree 1,2,4\n"
      "# with experts that move while a recording plays on, beside what is chosen without knowing it\n"
      "moesim rank --model zoo:mixtral-8x7b --cluster preset:h100 --nodes 8 --global-batch 1024 \\\n"
      "  --trace bundled:byte-moe-8-balanced --online greedy --period 100 --beside-balanced");
  auto request = std::make_shared<RankRequest>();
  add_scenario_options(*command, session, request->sources, SourceOptions::kRequired);
  add_batch_options(*command, request->space, BatchOption::kRequired);
  add_format_options(*command, session, request->space);
  command->add_option("--top", request->top, "Plans to show")
      ->option_text("K")
      ->check(CLI::Range(1, 100'000))
      ->default_str("10");
  command->add_option("-j,--jobs", request->jobs, "Threads; the result does not depend on it")
      ->option_text("N")
      ->check(CLI::Range(1, 1024));
  command
      ->add_option("--save-plans", request->save_plans, "Write the plans shown to this folder, for simulate and export")
      ->option_text("FOLDER");
  add_online_options(*command, session, request->online);
  add_space_filters(*command, session, request->space);
  session.add_output_options(*command);
  session.run_when_chosen(*command, [&session, request] { return run_rank(session, *request); });
}

}  // namespace moesim
