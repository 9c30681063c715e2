// moesim compare

#include <array>
#include <memory>

#include "sim/cli/commands/commands.hpp"
#include "sim/cli/plan_metrics.hpp"
#include "sim/cli/plan_place.hpp"
#include "sim/cli/scenario.hpp"

namespace moesim {
namespace {

struct CompareRequest {
  std::array<std::string, 2> plans;
  ScenarioSources sources;
};

struct Side {
  PlanFile file;
  ScenarioSources sources;
  StepMetrics metrics;
};

Result<Side> simulated(const std::string& path, const ScenarioSources& from_command_line) {
  Side side;
  MOESIM_ASSIGN(side.file, read_plan_file(path));
  side.sources = sources_for(path, side.file, from_command_line);
  MOESIM_ASSIGN(const Scenario scenario, load_scenario(side.sources));
  MOESIM_ASSIGN(const SimulatedStep step, in_plan_file(path, simulate_step(side.file.plan, scenario.model.shape,
                                                                           *scenario.costs, scenario.loads(), {})));
  side.metrics = step.metrics;
  return side;
}

std::vector<Metric> input_metrics(const Side& side) {
  std::vector<Metric> metrics = {
      {{"model", MetricUnit::kNone, "model", ""}, side.sources.model},
      {{"cluster", MetricUnit::kNone, "cluster", ""}, side.sources.cluster},
      {{"nodes", MetricUnit::kNone, "nodes", ""}, std::int64_t{side.sources.nodes}},
      {{"trace", MetricUnit::kNone, "trace", ""}, side.sources.trace},
      {{"seq_length", MetricUnit::kNone, "sequence", ""}, side.file.plan.seq_length},
      {{"global_batch", MetricUnit::kNone, "global batch", ""}, std::int64_t{side.file.plan.global_batch}},
      {{"precision", MetricUnit::kNone, "precision", ""}, side.file.plan.precision}};
  for (Metric& metric : plan_metrics(side.file.plan)) metrics.push_back(std::move(metric));
  return metrics;
}

std::vector<Metric> time_metrics(const StepMetrics& metrics) {
  std::vector<Metric> terms = step_metrics(metrics);
  for (int c = 0; c < kCategories; ++c) {
    const auto i = static_cast<std::size_t>(c);
    const std::string name(category_name(static_cast<Category>(c)));
    terms.push_back({{name + "_s", MetricUnit::kSeconds, name, ""},
                     (metrics.breakdown.compute[i] + metrics.breakdown.exposed[i]).value()});
  }
  return terms;
}

MetricValue ratio_of(const MetricValue& a, const MetricValue& b) {
  const auto number = [](const MetricValue& value) {
    const std::int64_t* whole = std::get_if<std::int64_t>(&value);
    const double* real = std::get_if<double>(&value);
    return whole != nullptr ? static_cast<double>(*whole) : real != nullptr ? *real : 0.0;
  };
  return number(a) != 0 ? MetricValue(number(b) / number(a)) : MetricValue();
}

MetricTable input_table(const std::vector<Metric>& a, const std::vector<Metric>& b) {
  MetricTable table({{"key", MetricUnit::kNone, "input", "What differs"},
                     {"a", MetricUnit::kNone, "A", "First plan"},
                     {"b", MetricUnit::kNone, "B", "Second plan"}});
  for (std::size_t i = 0; i < a.size(); ++i)
    if (a[i].value != b[i].value) table.add_row({a[i].column.key, a[i].value, b[i].value});
  return table;
}

MetricTable result_table(const std::vector<Metric>& a, const std::vector<Metric>& b) {
  MetricTable table({{"key", MetricUnit::kNone, "key", "Stable name", MetricShown::kMachinesOnly},
                     {"title", MetricUnit::kNone, "", "What is compared", MetricShown::kPeopleOnly},
                     {"a_text", MetricUnit::kNone, "A", "First plan", MetricShown::kPeopleOnly},
                     {"b_text", MetricUnit::kNone, "B", "Second plan", MetricShown::kPeopleOnly},
                     {"a", MetricUnit::kNone, "A", "First plan", MetricShown::kMachinesOnly},
                     {"b", MetricUnit::kNone, "B", "Second plan", MetricShown::kMachinesOnly},
                     {"b_over_a", MetricUnit::kFactor, "B / A", "Below 1: B is less"}});
  const MetricValue nothing = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i].value == nothing && b[i].value == nothing) continue;
    const MetricUnit unit = a[i].column.unit;
    table.add_row({a[i].column.key, a[i].column.title, display_text(a[i].value, unit), display_text(b[i].value, unit),
                   a[i].value, b[i].value, ratio_of(a[i].value, b[i].value)});
  }
  return table;
}

RunResult run_compare(Session& session, const CompareRequest& request) {
  MOESIM_TRY(session.check_output());
  MOESIM_ASSIGN(const Side a, simulated(request.plans[0], request.sources));
  MOESIM_ASSIGN(const Side b, simulated(request.plans[1], request.sources));
  Report report = session.new_report();
  for (const std::string& plan : request.plans) report.inputs.push_back(input_record("plan", plan));
  report.add_rows("results", "Results", result_table(time_metrics(a.metrics), time_metrics(b.metrics)));
  report.add_rows("inputs_that_differ", "Inputs that differ", input_table(input_metrics(a), input_metrics(b)));
  MOESIM_TRY(session.emit(report));
  return kExitOk;
}

}  // namespace

void add_compare(CLI::App& app, Session& session) {
  CLI::App* command = app.add_subcommand("compare", "Two plans side by side: what differs, and what it costs");
  command->footer("moesim compare plans/01-TP1PP1EP8CP1.json plans/02-TP1PP2EP8CP1.json");
  auto request = std::make_shared<CompareRequest>();
  command->add_option("a", request->plans[0], "A plan file")->option_text("A")->required();
  command->add_option("b", request->plans[1], "Another")->option_text("B")->required();
  add_scenario_options(*command, session, request->sources, SourceOptions::kOverridePlan);
  session.add_output_options(*command);
  session.run_when_chosen(*command, [&session, request] { return run_compare(session, *request); });
}

}  // namespace moesim
