// moesim rank

#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <thread>

#include "models/precision.hpp"
#include "sim/cli/commands/commands.hpp"
#include "sim/cli/plan_metrics.hpp"
#include "sim/cli/scenario.hpp"
#include "sim/pipeline/schedules.hpp"
#include "sim/search/search.hpp"

namespace moesim {
namespace {

// Values that narrow the space; empty: as default_space() has them.
struct SpaceFilter {
  std::vector<int> tp, cp, pp, vpp, ep, esp, micro_batch, zero;
  std::vector<std::string> pipeline, recompute;
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

void replace(std::vector<int>& values, const std::vector<int>& wanted) {
  if (!wanted.empty()) values = wanted;
}

SearchSpace space_for(const RankRequest& request, const Scenario& scenario) {
  SearchSpace space = default_space(scenario.model.shape, *scenario.view, request.seq_length, request.global_batch);
  space.precision = request.precision;
  space.capacity_factor = request.capacity_factor;
  const SpaceFilter& filter = request.filter;
  replace(space.tp, filter.tp);
  replace(space.cp, filter.cp);
  replace(space.pp, filter.pp);
  replace(space.vpp, filter.vpp);
  replace(space.ep, filter.ep);
  replace(space.esp, filter.esp);
  replace(space.micro_batch, filter.micro_batch);
  if (!filter.pipeline.empty()) space.pipeline = filter.pipeline;
  if (!filter.recompute.empty())
    std::erase_if(space.recompute, [&](Recompute r) {
      return std::find(filter.recompute.begin(), filter.recompute.end(), recompute_name(r)) == filter.recompute.end();
    });
  if (!filter.zero.empty()) {
    space.zero_dense.clear();
    for (const int stage : filter.zero) space.zero_dense.push_back(static_cast<ZeroStage>(stage));
    if (scenario.model.shape.first_moe() != nullptr) space.zero_expert = space.zero_dense;
  }
  return space;
}

MetricTable plan_table(const std::vector<RankedPlan>& plans) {
  MetricTable table;
  for (std::size_t i = 0; i < plans.size(); ++i) {
    const RankedPlan& ranked = plans[i];
    std::vector<Metric> row = {{{"rank", MetricUnit::kNone, "rank", "1 is the fastest"}, static_cast<std::int64_t>(i + 1)},
                               {{"name", MetricUnit::kNone, "name", "Run name", MetricShown::kMachinesOnly}, run_name(ranked.plan)}};
    for (auto metrics : {plan_metrics(ranked.plan), step_metrics(ranked.metrics)})
      std::move(metrics.begin(), metrics.end(), std::back_inserter(row));
    row.push_back({{"regime", MetricUnit::kNone, "regime", "ops: every operation replayed", MetricShown::kMachinesOnly}, std::string("ops")});
    row.push_back({{"bound_s", MetricUnit::kSeconds, "bound", "Closed form that is never above the replay", MetricShown::kMachinesOnly},
                   ranked.bound.value()});
    row.push_back({{"reason", MetricUnit::kNone, "reason", "Why it stands where it stands"}, ranked.reason});
    add_record_row(table, row, i == 0 ? RowTone::kGood : RowTone::kPlain);
  }
  return table;
}

MetricTable certificate_record(const Certificate& certificate) {
  std::vector<Metric> metrics = {
      {{"considered", MetricUnit::kNone, "plans considered", "Combinations of the space"}, certificate.considered},
      {{"bounded", MetricUnit::kNone, "bounded", "Given a closed-form bound"}, certificate.bounded},
      {{"replayed", MetricUnit::kNone, "replayed", "Operation by operation"}, certificate.replayed},
      {{"proven", MetricUnit::kNone, "true top of the space", "No plan of the space that is not shown is faster within the model"},
       certificate.proven},
      {{"gap", MetricUnit::kRatio, "gap", "How much better a plan that was not replayed could be"}, certificate.gap},
      {{"largest_possible_gain_s", MetricUnit::kSeconds, "largest possible gain", "The same as a time", MetricShown::kMachinesOnly},
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
  std::error_code failure;
  std::filesystem::create_directories(request.save_plans, failure);
  if (failure) return fail(ErrorKind::kInternal, fmt::format("cannot create the folder: {}", failure.message()), request.save_plans);
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
  MOESIM_TRY(find_precision(request.precision));
  MOESIM_ASSIGN(const Scenario scenario, load_scenario(request.sources));
  const StopToken stop = Session::stop();
  SearchOptions options;
  options.top = request.top;
  options.threads = request.jobs > 0 ? request.jobs : static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  options.stop = stop.flag();
  Result<RankResult> ranked = [&] {
    const std::unique_ptr<ProgressSink> progress = session.progress("searching");
    options.progress = [&](std::int64_t done, std::int64_t total, std::string_view) {
      progress->update(static_cast<std::uint64_t>(done), static_cast<std::uint64_t>(total));
    };
    return rank_plans(scenario.model.shape, *scenario.costs, scenario.loads(), space_for(request, scenario), options);
  }();
  if (!ranked && stop.stop_requested()) return fail(ErrorKind::kInterrupted, "interrupted before any plan was replayed");
  if (!ranked) return tl::unexpected(ranked.error());
  Report report = session.new_report();
  report.add_rows("plans", "", plan_table(ranked->plans));
  report.add_record("certificate", "Certificate", certificate_record(ranked->certificate));
  describe_scenario(report, scenario);
  report.notes.insert(report.notes.end(), ranked->notes.begin(), ranked->notes.end());
  MOESIM_TRY(session.emit(report));
  MOESIM_TRY(save_plans(session, request, ranked->plans));
  return stop.stop_requested() ? static_cast<int>(ErrorKind::kInterrupted) : kExitOk;
}

void add_filter(CLI::App& command, const std::string& name, std::vector<int>& target, const std::string& description,
                int smallest, int largest) {
  command.add_option(name, target, description)
      ->option_text("N,N..")
      ->delimiter(',')
      ->check(CLI::Range(smallest, largest))
      ->group("Narrow the space");
}

void add_words(CLI::App& command, Session& session, const std::string& name, std::vector<std::string>& target,
               std::vector<std::string> words, const std::string& description) {
  CLI::Option* option = command.add_option(name, target, description)
                            ->option_text("A,B..")
                            ->delimiter(',')
                            ->check(CLI::IsMember(words))
                            ->group("Narrow the space");
  session.suggest(option, std::move(words));
}

std::vector<std::string> schedule_names() {
  std::vector<std::string> names;
  for (const PipelineSchedule* schedule : pipeline_schedules()) names.emplace_back(schedule->name());
  return names;
}

std::vector<std::string> precision_names() {
  std::vector<std::string> names;
  for (const PrecisionRecipe& recipe : precision_recipes()) names.emplace_back(recipe.name);
  return names;
}

}  // namespace

void add_rank(CLI::App& app, Session& session) {
  CLI::App* command = app.add_subcommand("rank", "Ranks every layout that divides and fits, with the reason for its place");
  command->footer(
      "moesim rank --model zoo:mixtral-8x7b --cluster preset:h100 --nodes 8 --seq 4096 --global-batch 1024\n"
      "moesim rank --model config.json --cluster mine.json --trace recording.csv.zst --seq 4096 --global-batch 512 --json\n"
      "# only layouts with EP 8 and no recomputation; keep the best three as files\n"
      "moesim rank --model zoo:mixtral-8x7b --cluster preset:h100 --nodes 8 --global-batch 1024 --ep 8 --recompute none \\\n"
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
  command->add_option("--capacity-factor", request->capacity_factor, "Drop what exceeds it; without it nothing is dropped")
      ->option_text("F")
      ->check(CLI::Range(0.0, 1e6));
  command->add_option("--top", request->top, "Plans to show")->option_text("K")->check(CLI::Range(1, 100'000))->default_str("10");
  command->add_option("-j,--jobs", request->jobs, "Threads; the result does not depend on it")
      ->option_text("N")
      ->check(CLI::Range(1, 1024));
  command->add_option("--save-plans", request->save_plans, "Write the plans shown to this folder, for simulate and export")
      ->option_text("FOLDER");
  constexpr int kLargest = 1 << 20;
  SpaceFilter& filter = request->filter;
  add_filter(*command, "--tp", filter.tp, "Tensor parallelism", 1, kLargest);
  add_filter(*command, "--cp", filter.cp, "Context parallelism", 1, kLargest);
  add_filter(*command, "--pp", filter.pp, "Pipeline stages", 1, kLargest);
  add_filter(*command, "--vpp", filter.vpp, "Model chunks per stage", 1, kLargest);
  add_filter(*command, "--ep", filter.ep, "Expert parallelism", 1, kLargest);
  add_filter(*command, "--esp", filter.esp, "Shards of one expert", 1, kLargest);
  add_filter(*command, "--mbs", filter.micro_batch, "Sequences of a micro-batch", 1, kLargest);
  add_filter(*command, "--zero", filter.zero, "ZeRO stages", 0, 3);
  add_words(*command, session, "--pipeline", filter.pipeline, schedule_names(), "Pipeline schedules");
  add_words(*command, session, "--recompute", filter.recompute, {"none", "selective", "full"}, "Recomputation");
  session.add_output_options(*command);
  session.run_when_chosen(*command, [&session, request] { return run_rank(session, *request); });
}

}  // namespace moesim
