#include "sim/cli/scenario.hpp"

#include <fmt/format.h>

#include <utility>

#include "calibration/profile.hpp"
#include "models/cluster/cluster_source.hpp"
#include "sim/cli/sources.hpp"
#include "traces/import.hpp"

namespace moesim {
namespace {

Status load_routing(Scenario& scenario) {
  const ScenarioSources& sources = scenario.sources;
  if (sources.trace.empty()) {
    if (scenario.model.shape.first_moe() != nullptr)
      scenario.notes.emplace_back("routing is taken as balanced; give --trace for the gate's real choices");
    return {};
  }
  MOESIM_ASSIGN(const LoadedTrace loaded, load_trace(sources.trace));
  for (const Finding& finding : loaded.findings.list())
    if (finding.severity != Severity::kInfo)
      scenario.notes.push_back(fmt::format("trace: {}: {} ({} x)", name_of(finding.severity), finding.explanation, finding.count));
  if (loaded.trace.info.origin == TraceOrigin::kSynthetic)
    scenario.notes.push_back(fmt::format("{} is synthetic: made up by a generator, not recorded", sources.trace));
  MOESIM_ASSIGN(scenario.trace, LoadMapper::create(loaded.trace, sources.trace_step));
  return {};
}

}  // namespace

void add_scenario_options(CLI::App& command, Session& session, ScenarioSources& sources, SourceOptions kind) {
  const bool required = kind == SourceOptions::kRequired;
  constexpr const char* kGroup = "Scenario";
  add_model_source(command, session, "--model", sources.model)->required(required)->group(kGroup);
  add_cluster_source(command, session, "--cluster", sources.cluster)->required(required)->group(kGroup);
  add_nodes(command, sources.nodes)->group(kGroup);
  add_trace_source(command, session, "--trace", sources.trace)->group(kGroup);
  command.add_option("--trace-step", sources.trace_step, "Index of one recorded step of the trace, instead of all together")
      ->option_text("N")
      ->check(CLI::Range(0, 1'000'000'000))
      ->group(kGroup);
}

ScenarioSources sources_for(const PlanFile& plan, const ScenarioSources& from_command_line) {
  ScenarioSources sources = from_command_line;
  if (sources.model.empty()) sources.model = plan.model;
  // The plan's number of nodes belongs to the plan's cluster.
  if (sources.cluster.empty() && sources.nodes == 0) sources.nodes = plan.nodes;
  if (sources.cluster.empty()) sources.cluster = plan.cluster;
  if (sources.trace.empty()) sources.trace = plan.trace;
  return sources;
}

Result<Scenario> load_scenario(const ScenarioSources& sources) {
  if (sources.model.empty()) return usage_error("no model is named, neither by the plan nor by --model");
  if (sources.cluster.empty()) return usage_error("no cluster is named, neither by the plan nor by --cluster");
  Scenario scenario;
  scenario.sources = sources;
  MOESIM_ASSIGN(scenario.model, load_model(sources.model));
  MOESIM_ASSIGN(const ClusterSpec spec, load_cluster(sources.cluster, sources.nodes));
  MOESIM_ASSIGN(ClusterView view, compile(spec));
  scenario.view = std::make_unique<const ClusterView>(std::move(view));
  scenario.costs = std::make_unique<const CostModel>(make_cost_model(*scenario.view));
  scenario.notes = scenario.model.notes;
  MOESIM_TRY(load_routing(scenario));
  return scenario;
}

void describe_scenario(Report& report, const Scenario& scenario) {
  const ScenarioSources& sources = scenario.sources;
  report.inputs.push_back(input_record("model", sources.model));
  report.inputs.push_back(input_record("cluster", sources.cluster));
  if (!sources.trace.empty()) report.inputs.push_back(input_record("trace", sources.trace));
  const double error = scenario.costs->expected_relative_error();
  report.add_record("scenario", "",
                    record_of({{{"model", MetricUnit::kNone, "model", "Its name"}, scenario.model.shape.name},
                               {{"nodes", MetricUnit::kNone, "nodes", "Hosts"}, std::int64_t{scenario.view->nodes()}},
                               {{"gpus", MetricUnit::kNone, "GPUs", "Ranks"}, std::int64_t{scenario.view->ranks()}},
                               {{"device_memory_bytes", MetricUnit::kBytes, "memory", "Of one device"},
                                scenario.view->device(RankId(0)).memory.count()},
                               {{"expected_relative_error", MetricUnit::kRatio, "expected error",
                                 "Of a step time, by the residuals of the laws it is made of"},
                                error}}))
      .shown = SectionShown::kMachinesOnly;
  report.notes.insert(report.notes.end(), scenario.notes.begin(), scenario.notes.end());
  report.notes.push_back(fmt::format("times are expected to be off by about {:.0f} %, by the residuals of the laws", error * 100));
}

}  // namespace moesim
