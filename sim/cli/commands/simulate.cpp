// moesim simulate

#include <fmt/format.h>

#include <memory>

#include "sim/cli/commands/commands.hpp"
#include "sim/cli/plan_metrics.hpp"
#include "sim/cli/plan_place.hpp"
#include "sim/cli/scenario.hpp"
#include "sim/simulate/timeline.hpp"

namespace moesim {
namespace {

struct SimulateRequest {
  std::string plan;
  ScenarioSources sources;
  std::string trace_out;
  bool every_rank = false;
  int load_classes = 1;
  int recorded_micro_batches = 1;
};

MetricTable step_record(const Plan& plan, const StepMetrics& metrics, ExchangeRegime regime) {
  std::vector<Metric> record = {{{"name", MetricUnit::kNone, "plan", "Run name"}, run_name(plan)}};
  for (std::vector<Metric> part : {step_metrics(metrics), plan_metrics(plan)})
    for (Metric& metric : part) {
      metric.column.shown = MetricShown::kEverywhere;
      record.push_back(std::move(metric));
    }
  record.push_back({{"regime", MetricUnit::kNone, "regime",
                     "ops: every operation replayed; flows: and token exchanges as flows over links"},
                    std::string(regime_name(regime))});
  return record_of(std::move(record));
}

Status write_trace(const Session& session, const SimulateRequest& request, const Scenario& scenario,
                   const SimulatedStep& step) {
  if (request.trace_out.empty()) return {};
  const TimelineRequest timeline{request.trace_out,
                                 {{"model", scenario.sources.model},
                                  {"cluster", scenario.sources.cluster},
                                  {"trace", scenario.sources.trace},
                                  {"plan", run_name(step.program.plan)}}};
  MOESIM_ASSIGN(const TimelineSummary written, write_timeline(step, timeline));
  session.say(fmt::format("wrote {}: {} slices of {} ranks or roles; open it at https://ui.perfetto.dev",
                          request.trace_out, written.slices, written.tracks));
  return {};
}

RunResult run_simulate(Session& session, const SimulateRequest& request) {
  MOESIM_TRY(session.check_output());
  if (request.trace_out == "-")
    return usage_error("--trace-out: a timeline is written to a file, not to stdout", "name a file");
  MOESIM_TRY(check_writable(request.trace_out, session.overwrite()));
  MOESIM_ASSIGN(const PlanFile file, read_plan_file(request.plan));
  MOESIM_ASSIGN(const Scenario scenario, load_scenario(sources_for(request.plan, file, request.sources)));
  StepOptions options;
  options.price.folding = request.every_rank ? Folding::kEveryRank : Folding::kRoles;
  options.price.most_load_classes = request.load_classes;
  options.micro_batch_variants = request.recorded_micro_batches;
  options.replay.record_intervals = !request.trace_out.empty();
  MOESIM_ASSIGN(const SimulatedStep step,
                in_plan_file(request.plan, simulate_step(file.plan, scenario.model.shape, *scenario.costs,
                                                         scenario.loads(), options)));
  MOESIM_TRY(write_trace(session, request, scenario, step));
  Report report = session.new_report();
  report.inputs.push_back(input_record("plan", request.plan));
  report.add_record("step", "", step_record(file.plan, step.metrics, scenario.costs->regime()));
  report.add_rows("breakdown", fmt::format("Where the time of stage {} goes", step.metrics.breakdown.stage.value()),
                  breakdown_table(step.metrics));
  report.add_rows("memory", "Memory by stage", memory_table(step.memory));
  describe_scenario(report, scenario);
  for (const std::vector<std::string>& notes : {step.notes, plan_notes(file.plan, scenario.model.shape)})
    report.notes.insert(report.notes.end(), notes.begin(), notes.end());
  MOESIM_TRY(session.emit(report));
  return kExitOk;
}

}  // namespace

void add_simulate(CLI::App& app, Session& session) {
  CLI::App* command = app.add_subcommand("simulate", "Plays one step of a plan: times, memory by stage, a timeline");
  command->footer(
      "moesim simulate plans/01-TP1PP1EP8CP1.json\n"
      "# a timeline for https://ui.perfetto.dev\n"
      "moesim simulate plan.json --trace-out step.json.gz --json\n"
      "# token exchanges as flows that share links\n"
      "moesim simulate plan.json --regime flows");
  auto request = std::make_shared<SimulateRequest>();
  command->add_option("plan", request->plan, "A plan file (docs/plan.md), as rank --save-plans writes them")
      ->option_text("PLAN")
      ->required();
  add_scenario_options(*command, session, request->sources, SourceOptions::kOverridePlan);
  add_regime_option(*command, session, request->sources);
  command
      ->add_option("--trace-out", request->trace_out, "Write a timeline (Chrome/Perfetto JSON; .gz and .zst compress)")
      ->option_text("FILE");
  command->add_flag("--every-rank", request->every_rank, "Play every rank instead of one per role");
  command
      ->add_option("--load-classes", request->load_classes,
                   "Play up to N kinds of expert groups, those with the most work first; the ranking plays the first")
      ->option_text("N [1]")
      ->check(CLI::Range(1, 64));
  command
      ->add_option(
          "--recorded-micro-batches", request->recorded_micro_batches,
          "Play up to N recorded micro-batches in turn; 1 takes the average of the recording, as the ranking does")
      ->option_text("N [1]")
      ->check(CLI::Range(1, kMostVariants));
  session.add_output_options(*command);
  session.run_when_chosen(*command, [&session, request] { return run_simulate(session, *request); });
}

}  // namespace moesim
