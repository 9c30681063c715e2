// moeexec validate

#include <fmt/format.h>

#include <cmath>
#include <memory>
#include <optional>

#include "calibration/profile.hpp"
#include "calibration/quantile.hpp"
#include "exec/cli/commands/commands.hpp"
#include "exec/cli/comparison.hpp"
#include "models/cluster/cluster_source.hpp"
#include "sim/cli/sources.hpp"
#include "sim/report/validation_summary.hpp"

namespace moesim {
namespace {

struct ValidateRequest {
  std::vector<std::string> plans;
  JobOptions job;
  std::string cluster;  // empty: the plan's
  int nodes = 0;
  std::string profile;
};

// A cluster with as many ranks as the plan, and what its laws say.
struct Prediction {
  std::unique_ptr<const ClusterView> view;  // on the heap because `costs` refers to it
  std::unique_ptr<const CostModel> costs;
};

Result<Prediction> load_prediction(const ValidateRequest& request, const Job& job) {
  const bool own = request.cluster.empty();
  const std::string& source = own ? job.file.cluster : request.cluster;
  MOESIM_ASSIGN(const ClusterSpec spec,
                load_cluster(source, own && request.nodes == 0 ? job.file.nodes : request.nodes));
  MOESIM_ASSIGN(ClusterView view, compile(spec));
  const int ranks = job.program.layout->world();
  if (view.ranks() != ranks)
    return usage_error(fmt::format("the plan is for {} ranks, and {} has {}", ranks, source, view.ranks()),
                       "give --cluster and --nodes as the machines are that execute the plan");
  std::vector<Profile> profiles;
  if (!request.profile.empty()) {
    MOESIM_ASSIGN(Profile profile, load_profile(request.profile));
    profiles.push_back(std::move(profile));
  }
  Prediction prediction;
  prediction.view = std::make_unique<const ClusterView>(std::move(view));
  prediction.costs = std::make_unique<const CostModel>(make_cost_model(*prediction.view, profiles));
  return prediction;
}

MetricTable plan_table(const std::vector<ComparedPlan>& plans) {
  MetricTable table({{"name", MetricUnit::kNone, "plan", "Run name"},
                     {"predicted_s", MetricUnit::kSeconds, "predicted", "Of one step"},
                     {"measured_s", MetricUnit::kSeconds, "measured", "Of the slowest rank; median over the steps"},
                     {"relative_error", MetricUnit::kRatio, "error", "Predicted over measured, less one"}});
  for (const ComparedPlan& plan : plans)
    table.add_row({plan.name, plan.predicted.value(), plan.measured.value(), plan.predicted / plan.measured - 1});
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

MetricTable summary_table(const std::vector<ComparedPlan>& plans) {
  std::vector<double> predicted, measured, step_errors, op_errors;
  for (const ComparedPlan& plan : plans) {
    predicted.push_back(plan.predicted.value());
    measured.push_back(plan.measured.value());
    step_errors.push_back(std::abs(plan.predicted / plan.measured - 1));
    for (const ComparedOperation& op : plan.operations)
      if (op.measured > Seconds(0) && op.predicted > Seconds(0))
        op_errors.push_back(std::abs(op.predicted / op.measured - 1));
  }
  MetricValue tau;
  if (const std::optional<double> known = kendall_tau(predicted, measured)) tau = *known;
  return record_of({{{"plans", MetricUnit::kNone, "plans", "Executed"}, static_cast<std::int64_t>(plans.size())},
                    {{"median_step_error", MetricUnit::kRatio, "median step error", "Of |relative error|"},
                     quantile(step_errors, 0.5)},
                    {{"median_operation_error", MetricUnit::kRatio, "median operation error",
                      "Of |relative error|, over operations that take any time"},
                     op_errors.empty() ? MetricValue() : MetricValue(quantile(op_errors, 0.5))},
                    {{"kendall_tau", MetricUnit::kNone, "Kendall's tau",
                      "Whether the plans come out in the right order: 1 as measured, -1 reversed"},
                     tau}});
}

Result<NextStep> compare_plan(const std::string& path, const ValidateRequest& request, World& world, Report& report,
                              std::vector<ComparedPlan>& plans) {
  const Result<Job> job = prepare_job(path, request.job, world);
  Result<Prediction> prediction = job ? load_prediction(request, *job) : tl::unexpected(job.error());
  const Status ready = prediction ? Status{} : tl::unexpected(prediction.error());
  MOESIM_ASSIGN(const NextStep next, agree_to_start(world, ready, job ? job->fingerprint : 0));
  if (next == NextStep::kStop) return next;
  MOESIM_ASSIGN(const std::vector<TrainingRecord> records, execute_job(*job, request.job, world));
  if (!world.leads()) return NextStep::kGoOn;
  report.inputs.push_back(input_record("plan", path));
  report.notes.insert(report.notes.end(), job->notes.begin(), job->notes.end());
  MOESIM_ASSIGN(ComparedPlan compared, compare_with_prediction(*job, *prediction->costs, records));
  plans.push_back(std::move(compared));
  return NextStep::kGoOn;
}

RunResult run_validate(Session& session, const ValidateRequest& request) {
  MOESIM_ASSIGN(World world, World::join("moeexec", Seconds(request.job.timeout_s)));
  MOESIM_ASSIGN(const NextStep first, agree_to_start(world, session.check_output(), 0));
  if (first == NextStep::kStop) return kExitOk;
  Report report = session.new_report();
  std::vector<ComparedPlan> plans;
  for (const std::string& path : request.plans) {
    MOESIM_ASSIGN(const NextStep next, compare_plan(path, request, world, report, plans));
    if (next == NextStep::kStop) return kExitOk;
  }
  if (!world.leads()) return kExitOk;
  report.add_rows("plans", "", plan_table(plans));
  report.add_rows("operations", "Operations", operation_table(plans));
  report.add_record("summary", "Summary", summary_table(plans));
  MOESIM_TRY(session.emit(report));
  return kExitOk;
}

}  // namespace

void add_execution_validate(CLI::App& app, Session& session) {
  CLI::App* command = app.add_subcommand("validate", "Executes plans and sets prediction beside measurement");
  command->footer(
      "# the cluster file and the profile describe the machines that execute the plans\n"
      "moeexec validate plans/*.json --cluster here.json --profile here-profile.json --gate replay\n"
      "mpirun -n 8 --mca mpi_yield_when_idle 1 moeexec validate plan.json --cluster here.json --json");
  auto request = std::make_shared<ValidateRequest>();
  command->add_option("plans", request->plans, "Plan files (docs/plan.md)")->option_text("PLAN...")->required();
  constexpr const char* kGroup = "Prediction";
  add_cluster_source(*command, session, "--cluster", request->cluster)->group(kGroup);
  add_nodes(*command, request->nodes)->group(kGroup);
  command->add_option("--profile", request->profile, "Calibration profile that comes before the shipped ones")
      ->option_text("FILE")
      ->group(kGroup);
  add_training_options(*command, session, request->job);
  add_gate_options(*command, session, request->job);
  session.add_output_options(*command);
  session.run_when_chosen(*command, [&session, request] { return run_validate(session, *request); });
}

}  // namespace moesim
