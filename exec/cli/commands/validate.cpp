// moeexec validate

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>

#include "calibration/quantile.hpp"
#include "exec/cli/commands/commands.hpp"
#include "exec/cli/comparison.hpp"
#include "exec/cli/ranking.hpp"
#include "exec/run/executed_timeline.hpp"
#include "sim/report/validation_summary.hpp"

namespace moesim {
namespace {

struct ValidateRequest {
  std::vector<std::string> plans;
  JobOptions job;
  PredictionOptions prediction;
  RankingOptions ranking;
  std::string trace_out;
};

MetricTable plan_table(const std::vector<ComparedPlan>& plans) {
  MetricTable table({{"name", MetricUnit::kNone, "plan", "Run name"},
                     {"predicted_s", MetricUnit::kSeconds, "predicted", "Of one step"},
                     {"measured_s", MetricUnit::kSeconds, "measured", "Of the slowest rank; median over the steps"},
                     {"relative_error", MetricUnit::kRatio, "error", "Predicted over measured, less one"},
                     {"outside_share", MetricUnit::kRatio, "outside",
                      "Operations priced outside the range that their law was fitted on"}});
  for (const ComparedPlan& plan : plans)
    table.add_row(
        {plan.name, plan.predicted.value(), plan.measured.value(), plan.predicted / plan.measured - 1, plan.outside});
  return table;
}

MetricTable operation_table(const std::vector<ComparedPlan>& plans) {
  MetricTable table({{"plan", MetricUnit::kNone, "plan", "Run name"},
                     {"name", MetricUnit::kNone, "operation", "As in a timeline"},
                     {"kind", MetricUnit::kNone, "kind", "What it computes or communicates"},
                     {"phase", MetricUnit::kNone, "phase", "Of the step"},
                     {"count", MetricUnit::kNone, "count", "In one step, on all ranks"},
                     {"predicted_s", MetricUnit::kSeconds, "predicted", "Sum over one step and all ranks"},
                     {"measured_s", MetricUnit::kSeconds, "measured", "The same, without waiting for other ranks"},
                     {"relative_error", MetricUnit::kRatio, "error", "Predicted over measured, less one"}});
  for (const ComparedPlan& plan : plans)
    for (const ComparedOperation& op : plan.operations) {
      MetricValue error;
      if (op.measured > Seconds(0)) error = op.predicted / op.measured - 1;
      table.add_row({plan.name, op.name, op.kind, op.phase, op.count, op.predicted.value(), op.measured.value(),
                     std::move(error)});
    }
  return table;
}

// How the order of the predictions agrees with that of the measurements.
RankGroupSummary judge_order(const std::vector<ComparedPlan>& plans) {
  std::vector<ComparedRow> rows;
  for (const ComparedPlan& plan : plans) {
    ComparedRow& row = rows.emplace_back();
    row.id = plan.name;
    row.metric = "step_time_s";
    row.predicted = plan.predicted.value();
    row.measured = plan.measured.value();
    row.rank_group = "plans";
  }
  const ValidationSummary summary = summarize_validation(rows);
  return summary.rank_groups.empty() ? RankGroupSummary() : summary.rank_groups.front();
}

MetricTable summary_table(const std::vector<ComparedPlan>& plans, const JobOptions& how) {
  std::vector<double> step_errors, op_errors;
  for (const ComparedPlan& plan : plans) {
    step_errors.push_back(std::abs(plan.predicted / plan.measured - 1));
    for (const ComparedOperation& op : plan.operations) {
      if (how.compute == "wait" && !op.communication) continue;  // it took what it was told to
      if (op.measured > Seconds(0) && op.predicted > Seconds(0))
        op_errors.push_back(std::abs(op.predicted / op.measured - 1));
    }
  }
  const RankGroupSummary order = judge_order(plans);
  const bool several = plans.size() > 1;
  return record_of(
      {{{"plans", MetricUnit::kNone, "plans", "Executed"}, static_cast<std::int64_t>(plans.size())},
       {{"median_step_error", MetricUnit::kRatio, "median step error", "Of |relative error|"},
        quantile(step_errors, 0.5)},
       {{"median_operation_error", MetricUnit::kRatio, "median operation error",
         "Of |relative error|, over operations that take any time; with --compute wait over communication"},
        op_errors.empty() ? MetricValue() : MetricValue(quantile(op_errors, 0.5))},
       {{"kendall_tau", MetricUnit::kNone, "Kendall's tau",
         "Whether the plans come out in the right order: 1 as measured, -1 reversed"},
        order.kendall_tau ? MetricValue(*order.kendall_tau) : MetricValue()},
       {{"regret", MetricUnit::kRatio, "regret",
         "How much longer the plan takes that was predicted to be the fastest than the fastest measured"},
        several ? MetricValue(order.regret) : MetricValue()}});
}

Status write_timeline_file(const Session& session, const ValidateRequest& request, const Job& job,
                           const Prediction& prediction, const std::vector<TrainingRecord>& records) {
  MOESIM_ASSIGN(const std::int64_t slices, write_executed_timeline({.program = job.program,
                                                                    .records = records,
                                                                    .memory = &job.memory,
                                                                    .predicted = prediction.intervals,
                                                                    .metadata = {{"model", job.model_source},
                                                                                 {"trace", job.trace_source},
                                                                                 {"plan", run_name(job.file.plan)},
                                                                                 {"executed", "moeexec validate"}}},
                                                                   request.trace_out));
  session.say(fmt::format("wrote {}: {} slices, predicted and executed; open it at https://ui.perfetto.dev",
                          request.trace_out, slices));
  return {};
}

// Everything that is made of one plan before it runs.
struct PreparedPlan {
  Job job;
  Prediction prediction;
};
Result<PreparedPlan> prepare(const Candidate& candidate, const ValidateRequest& request, const World& world) {
  PreparedPlan prepared;
  MOESIM_ASSIGN(prepared.job, prepare_job(candidate.file, candidate.path, request.job, world));
  MOESIM_ASSIGN(prepared.prediction, predict(request.prediction, prepared.job, request.job));
  const std::vector<std::string>& notes = prepared.prediction.notes;
  prepared.job.notes.insert(prepared.job.notes.end(), notes.begin(), notes.end());
  return prepared;
}

Result<NextStep> compare_plan(const Session& session, const Candidate& candidate, const ValidateRequest& request,
                              World& world, Report& report, std::vector<ComparedPlan>& plans) {
  const Result<PreparedPlan> prepared = prepare(candidate, request, world);
  const Status ready = prepared ? Status{} : tl::unexpected(prepared.error());
  MOESIM_ASSIGN(const NextStep next, agree_to_start(world, ready, prepared ? prepared->job.fingerprint : 0));
  if (next == NextStep::kStop) return next;
  const auto& [job, prediction] = *prepared;
  const bool waits = request.job.compute == "wait";
  MOESIM_ASSIGN(const std::vector<TrainingRecord> records,
                execute_job(job, request.job, world, waits ? waits_for(prediction, job) : RankWaits()));
  if (!world.leads()) return NextStep::kGoOn;
  if (!candidate.path.empty()) report.inputs.push_back(input_record("plan", candidate.path));
  for (const std::string& note : job.notes)
    if (std::ranges::find(report.notes, note) == report.notes.end()) report.notes.push_back(note);
  plans.push_back(compare_with_prediction(job, prediction, records));
  if (!request.trace_out.empty()) {
    MOESIM_TRY(write_timeline_file(session, request, job, prediction, records));
  }
  return NextStep::kGoOn;
}

Status check_request(const Session& session, const ValidateRequest& request) {
  MOESIM_TRY(session.check_output());
  if (request.plans.empty() && !request.ranking.rank)
    return usage_error("no plan is named", "name plan files, or rank all plans of a model with --rank");
  if (request.trace_out.empty()) return {};
  if (request.trace_out == "-")
    return usage_error("--trace-out: a timeline is written to a file, not to stdout", "name a file");
  if (request.ranking.rank || request.plans.size() > 1)
    return usage_error("--trace-out: a timeline is of one plan", "validate that plan alone");
  return check_writable(request.trace_out, session.overwrite());
}

Result<RankedCandidates> find_candidates(const Session& session, const ValidateRequest& request, const World& world) {
  MOESIM_TRY(check_request(session, request));
  if (request.plans.empty()) return candidates_of_space(request.ranking, request.prediction, request.job);
  std::vector<Candidate> plans;
  for (const std::string& path : request.plans) {
    MOESIM_ASSIGN(PlanFile file, read_plan_file(path));
    plans.push_back({std::move(file), path});
  }
  if (!request.ranking.rank) return RankedCandidates{std::move(plans), {}};
  return candidates_of_plans(request.ranking, request.prediction, request.job, std::move(plans), world);
}

RunResult run_validate(Session& session, const ValidateRequest& request) {
  MOESIM_ASSIGN(World world, World::join("moeexec", Seconds(request.job.timeout_s)));
  const Result<RankedCandidates> candidates = find_candidates(session, request, world);
  const Status ready = candidates ? Status{} : tl::unexpected(candidates.error());
  MOESIM_ASSIGN(const NextStep first, agree_to_start(world, ready, 0));
  if (first == NextStep::kStop) return kExitOk;
  Report report = session.new_report();
  std::vector<ComparedPlan> plans;
  for (const Candidate& candidate : candidates->chosen) {
    MOESIM_ASSIGN(const NextStep next, compare_plan(session, candidate, request, world, report, plans));
    if (next == NextStep::kStop) return kExitOk;
  }
  if (!world.leads()) return kExitOk;
  if (!candidates->note.empty()) report.notes.push_back(candidates->note);
  for (const std::string& profile : request.prediction.profiles)
    report.inputs.push_back(input_record("profile", profile));
  report.add_rows("plans", "", plan_table(plans));
  report.add_rows("operations", "Operations", operation_table(plans)).shown =
      request.ranking.rank ? SectionShown::kMachinesOnly : SectionShown::kEverywhere;
  report.add_record("summary", "Summary", summary_table(plans, request.job));
  MOESIM_TRY(session.emit(report));
  return kExitOk;
}

}  // namespace

void add_execution_validate(CLI::App& app, Session& session) {
  CLI::App* command = app.add_subcommand("validate", "Executes plans and sets prediction beside measurement");
  command->footer(
      "# the cluster file and the profile describe the machines that execute the plans\n"
      "moeexec validate plans/*.json --cluster here.json --profile here-profile.json --gate replay\n"
      "mpirun -n 8 --mca mpi_yield_when_idle 1 moeexec validate plan.json --cluster here.json --json\n"
      "# the best five plans for two ranks, and five of the others: is their order right?\n"
      "moeexec validate --rank --model examples/tiny-moe.json --cluster here.json --profile here-profile.json \\\n"
      "  --seq 64 --global-batch 8 --gate replay");
  auto request = std::make_shared<ValidateRequest>();
  command->add_option("plans", request->plans, "Plan files (docs/plan.md)")->option_text("PLAN...");
  add_prediction_options(*command, session, request->prediction);
  add_training_options(*command, session, request->job);
  add_compute_option(*command, session, request->job);
  add_gate_options(*command, session, request->job);
  add_ranking_options(*command, session, request->ranking);
  command
      ->add_option("--trace-out", request->trace_out,
                   "Write the last step, predicted and executed, as one timeline (Chrome/Perfetto JSON; .gz and .zst "
                   "compress)")
      ->option_text("FILE");
  session.add_output_options(*command);
  session.run_when_chosen(*command, [&session, request] { return run_validate(session, *request); });
}

}  // namespace moesim
