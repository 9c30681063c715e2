// moesim rank

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>
#include <thread>

#include "models/precision.hpp"
#include "sim/cli/commands/commands.hpp"
#include "sim/cli/plan_metrics.hpp"
#include "sim/cli/scenario.hpp"
#include "sim/lower/moe_schedule.hpp"
#include "sim/pipeline/schedules.hpp"
#include "sim/search/search.hpp"
#include "sim/sweep/field.hpp"

namespace moesim {
namespace {

// Dimensions of the space that can be narrowed, in the grammar that sweeps have (docs/sweep.md).
constexpr std::array kFilters = {SweepField::kTp,         SweepField::kCp,       SweepField::kPp,
                                 SweepField::kVpp,        SweepField::kEp,       SweepField::kEsp,
                                 SweepField::kMicroBatch, SweepField::kPipeline, SweepField::kRecompute,
                                 SweepField::kMoeSchedule};

// As written; empty: as default_space() has them.
struct SpaceFilter {
  std::array<std::string, kFilters.size()> values;
  std::string zero;  // of dense and expert parameters alike
};

struct RankRequest {
  ScenarioSources sources;
  std::int64_t seq_length = 4096;
  int global_batch = 0;
  std::string precision = "bf16";
  double capacity_factor = 0;
  int top = 10;
  int jobs = 0;  // 0: as many as there are cores
  SpaceFilter filter;
  std::string save_plans;
};

Result<std::vector<int>> whole_numbers(std::string_view option, const Result<SweepAxis>& axis) {
  if (!axis) return usage_error(fmt::format("{}: {}", option, axis.error().what), axis.error().hint);
  std::vector<int> numbers;
  for (const AxisValue& value : axis->values) numbers.push_back(static_cast<int>(std::get<std::int64_t>(value)));
  return numbers;
}

std::vector<int>* numbers_of(SearchSpace& space, SweepField field) {
  switch (field) {
    case SweepField::kTp: return &space.tp;
    case SweepField::kCp: return &space.cp;
    case SweepField::kPp: return &space.pp;
    case SweepField::kVpp: return &space.vpp;
    case SweepField::kEp: return &space.ep;
    case SweepField::kEsp: return &space.esp;
    case SweepField::kMicroBatch: return &space.micro_batch;
    default: return nullptr;
  }
}

Status narrow(SearchSpace& space, SweepField field, const std::string& text) {
  const std::string_view option = sweep_fields()[static_cast<std::size_t>(field)].options;
  const Result<SweepAxis> axis = parse_axis(field, text);
  if (std::vector<int>* numbers = numbers_of(space, field)) {
    MOESIM_ASSIGN(*numbers, whole_numbers(option, axis));
    return {};
  }
  if (!axis) return usage_error(fmt::format("{}: {}", option, axis.error().what), axis.error().hint);
  std::vector<std::string> words;
  for (const AxisValue& value : axis->values) words.push_back(std::get<std::string>(value));
  if (field == SweepField::kPipeline) space.pipeline = words;
  if (field == SweepField::kMoeSchedule) space.moe_schedule = words;
  if (field == SweepField::kRecompute)
    std::erase_if(space.recompute,
                  [&](Recompute r) { return std::find(words.begin(), words.end(), recompute_name(r)) == words.end(); });
  return {};
}

Result<SearchSpace> space_for(const RankRequest& request, const Scenario& scenario) {
  SearchSpace space = default_space(scenario.model.shape, *scenario.view, request.seq_length, request.global_batch);
  space.precision = request.precision;
  space.capacity_factor = request.capacity_factor;
  const SpaceFilter& filter = request.filter;
  for (std::size_t i = 0; i < kFilters.size(); ++i) {
    if (filter.values[i].empty()) continue;
    MOESIM_TRY(narrow(space, kFilters[i], filter.values[i]));
  }
  if (filter.zero.empty()) return space;
  MOESIM_ASSIGN(const std::vector<int> stages,
                whole_numbers("--zero", parse_axis(SweepField::kZeroDense, filter.zero)));
  space.zero_dense.clear();
  for (const int stage : stages) space.zero_dense.push_back(static_cast<ZeroStage>(stage));
  if (scenario.model.shape.first_moe() != nullptr) space.zero_expert = space.zero_dense;
  return space;
}

// What a row of the table for people has no room for: they read it below, or it is the same in all rows.
bool is_for_machines(std::string_view key) { return key == "zero_dense" || key == "zero_expert" || key == "fits"; }

MetricTable plan_table(const std::vector<RankedPlan>& plans) {
  MetricTable table;
  const bool several = std::any_of(plans.begin(), plans.end(), [](const RankedPlan& ranked) {
    return ranked.plan.moe_schedule != Plan{}.moe_schedule;
  });
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
    row.push_back({{"regime", MetricUnit::kNone, "regime", "ops: every operation replayed", MetricShown::kMachinesOnly},
                   std::string("ops")});
    row.push_back({{"bound_s", MetricUnit::kSeconds, "bound", "Closed form that is never above the replay",
                    MetricShown::kMachinesOnly},
                   ranked.bound.value()});
    row.push_back({{"reason", MetricUnit::kNone, "reason", "Why it stands where it stands", MetricShown::kMachinesOnly},
                   ranked.reason});
    for (Metric& metric : row) {
      if (is_for_machines(metric.column.key)) metric.column.shown = MetricShown::kMachinesOnly;
      if (metric.column.key == "moe_schedule" && several) metric.column.shown = MetricShown::kEverywhere;
    }
    add_record_row(table, row, i == 0 ? RowTone::kGood : RowTone::kPlain);
  }
  return table;
}

// On lines of their own: beside the plans they would make the table wider than a terminal.
MetricTable reason_table(const std::vector<RankedPlan>& plans) {
  MetricTable table(
      {{"rank", MetricUnit::kNone, "rank", ""}, {"reason", MetricUnit::kNone, "why it stands there", ""}});
  for (std::size_t i = 0; i < plans.size(); ++i)
    table.add_row({static_cast<std::int64_t>(i + 1), plans[i].reason}, i == 0 ? RowTone::kGood : RowTone::kPlain);
  return table;
}

MetricTable certificate_record(const Certificate& certificate) {
  std::vector<Metric> metrics = {
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

// Before the search, because its end would be late to hear of it. Names of plans are not known yet, so the folder must be
// empty: half of one ranking beside half of another would be worse than an error.
Status prepare_folder(const std::string& folder, Overwrite overwrite) {
  if (folder.empty()) return {};
  std::error_code failure;
  std::filesystem::create_directories(folder, failure);
  if (failure)
    return fail(ErrorKind::kInternal, fmt::format("cannot create the folder: {}", failure.message()), folder);
  const bool empty = std::filesystem::is_empty(folder, failure);
  if (failure) return fail(ErrorKind::kInternal, fmt::format("cannot list the folder: {}", failure.message()), folder);
  if (empty || overwrite == Overwrite::kAllow) return {};
  return usage_error(fmt::format("the folder '{}' is not empty", folder),
                     "name another one, or give --force to write into it");
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
  MOESIM_TRY(prepare_folder(request.save_plans, session.overwrite()));
  MOESIM_TRY(find_precision(request.precision));
  MOESIM_ASSIGN(const Scenario scenario, load_scenario(request.sources));
  MOESIM_ASSIGN(const SearchSpace space, space_for(request, scenario));
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
  Report report = session.new_report();
  report.add_rows("plans", "", plan_table(ranked->plans));
  report.add_rows("reasons", "", reason_table(ranked->plans)).shown = SectionShown::kPeopleOnly;
  report.add_record("certificate", "Certificate", certificate_record(ranked->certificate));
  describe_scenario(report, scenario);
  report.notes.insert(report.notes.end(), ranked->notes.begin(), ranked->notes.end());
  MOESIM_TRY(session.emit(report));
  MOESIM_TRY(save_plans(session, request, ranked->plans));
  return stop.stop_requested() ? static_cast<int>(ErrorKind::kInterrupted) : kExitOk;
}

CLI::Option* add_filter(CLI::App& command, const std::string& names, std::string& target,
                        const std::string& description) {
  return command.add_option(names, target, description)->option_text("VALUES")->group("Narrow the space");
}

std::vector<std::string> schedule_names() {
  std::vector<std::string> names;
  for (const PipelineSchedule* schedule : pipeline_schedules()) names.emplace_back(schedule->name());
  return names;
}

std::vector<std::string> moe_schedule_names() {
  std::vector<std::string> names;
  for (const MoeSchedule* schedule : moe_schedules()) names.emplace_back(schedule->name());
  return names;
}

std::vector<std::string> precision_names() {
  std::vector<std::string> names;
  for (const PrecisionRecipe& recipe : precision_recipes()) names.emplace_back(recipe.name);
  return names;
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
      "  --top 3 --save-plans plans");
  auto request = std::make_shared<RankRequest>();
  add_scenario_options(*command, session, request->sources, SourceOptions::kRequired);
  command->add_option("--seq", request->seq_length, "Tokens of a sequence")
      ->option_text("L")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{100'000'000}))
      ->default_str("4096");
  command->add_option("--global-batch", request->global_batch, "Sequences of a step")
      ->option_text("SEQS")
      ->check(CLI::Range(1, 100'000'000))
      ->required();
  session.add_choice(*command, "--precision", request->precision, precision_names(), "How a run computes and stores")
      ->default_str(request->precision);
  command
      ->add_option("--capacity-factor", request->capacity_factor, "Drop what exceeds it; without it nothing is dropped")
      ->option_text("F")
      ->check(CLI::Range(0.0, 1e6));
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
  SpaceFilter& filter = request->filter;
  for (std::size_t i = 0; i < kFilters.size(); ++i) {
    const FieldTraits& traits = sweep_fields()[static_cast<std::size_t>(kFilters[i])];
    CLI::Option* option =
        add_filter(*command, std::string(traits.options), filter.values[i], std::string(traits.description));
    if (kFilters[i] == SweepField::kPipeline) session.suggest(option, schedule_names());
    if (kFilters[i] == SweepField::kMoeSchedule) session.suggest(option, moe_schedule_names());
    if (kFilters[i] == SweepField::kRecompute) session.suggest(option, {"none", "selective", "full"});
  }
  add_filter(*command, "--zero", filter.zero, "ZeRO stages");
  session.add_output_options(*command);
  session.run_when_chosen(*command, [&session, request] { return run_rank(session, *request); });
}

}  // namespace moesim
