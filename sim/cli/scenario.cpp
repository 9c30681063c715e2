#include "sim/cli/scenario.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "calibration/profile.hpp"
#include "models/cluster/cluster_source.hpp"
#include "models/cluster/link_paths.hpp"
#include "sim/cli/routing_source.hpp"
#include "sim/cli/sources.hpp"

namespace moesim {
namespace {

// An unknown name that a plan file gives is a fault of that file, not of the command line.
tl::unexpected<Error> blame(Error error, const ScenarioSources& sources, std::string_view key) {
  if (error.where.empty() && !sources.plan.empty() && sources.named_by_plan.contains(key)) {
    error.where = fmt::format("{}#/{}", sources.plan, key);
    error.kind = ErrorKind::kInvalidInput;
  }
  return tl::unexpected(std::move(error));
}

Status add_routing(Scenario& scenario) {
  const ScenarioSources& sources = scenario.sources;
  if (sources.trace.empty()) {
    MOESIM_TRY(check_no_import_options(sources.import));
    if (scenario.model.shape.first_moe() != nullptr) scenario.notes.emplace_back(kBalancedRoutingNote);
    return {};
  }
  const RoutingSource source{sources.trace, sources.trace_step, sources.import, &scenario.model.shape};
  Result<LoadMapper> trace = load_routing(source, scenario.notes);
  if (!trace) return blame(trace.error(), sources, "trace");
  scenario.trace = std::move(*trace);
  return {};
}

MetricTable calibration_table(const CostModel& costs) {
  MetricTable table({{"law", MetricUnit::kNone, "law", "Of cost"},
                     {"device", MetricUnit::kNone, "device", "That it is for"},
                     {"origin", MetricUnit::kNone, "origin", "How its numbers came about"},
                     {"source", MetricUnit::kNone, "source", "Whose measurements or figures"},
                     {"range", MetricUnit::kNone, "range", "What was measured"},
                     {"residual_median", MetricUnit::kRatio, "median error", "Of the law over its measurements"}});
  for (const LawProvenance& law : costs.provenance())
    table.add_row({law.law, law.device, std::string(origin_name(law.provenance.origin)), law.provenance.source,
                   law.provenance.range,
                   law.provenance.residual >= 0 ? MetricValue(law.provenance.residual) : MetricValue()});
  return table;
}

}  // namespace

void add_scenario_options(CLI::App& command, Session& session, ScenarioSources& sources, SourceOptions kind) {
  const bool required = kind == SourceOptions::kRequired;
  constexpr const char* kGroup = "Scenario";
  add_model_source(command, session, "--model", sources.model)->required(required)->group(kGroup);
  add_cluster_source(command, session, "--cluster", sources.cluster)->required(required)->group(kGroup);
  add_nodes(command, sources.nodes)->group(kGroup);
  add_routing_source(command, session, "--trace", sources.trace)->group(kGroup);
  command
      .add_option("--trace-step", sources.trace_step,
                  "Index of one recorded step of the trace, instead of all together")
      ->option_text("N")
      ->check(CLI::Range(0, 1'000'000'000))
      ->group(kGroup);
  add_import_options(command, session, sources.import);
  add_profile_option(command, sources.profiles)->group(kGroup);
}

void add_regime_option(CLI::App& command, Session& session, ScenarioSources& sources) {
  session
      .add_choice(command, "--regime", sources.regime,
                  {std::string(regime_name(ExchangeRegime::kPorts)), std::string(regime_name(ExchangeRegime::kFlows))},
                  "Token exchanges priced by their busiest port (ops) or as flows that share links (flows)")
      ->default_str(sources.regime)
      ->group("Scenario");
}

ScenarioSources sources_for(const std::string& path, const PlanFile& plan, const ScenarioSources& from_command_line) {
  ScenarioSources sources = from_command_line;
  sources.plan = path;
  const auto take = [&](std::string& source, const char* key, const std::string& from_plan) {
    if (!source.empty() || from_plan.empty()) return;
    source = from_plan;
    sources.named_by_plan.insert(key);
  };
  // The plan's number of nodes belongs to the plan's cluster.
  if (sources.cluster.empty() && sources.nodes == 0) sources.nodes = plan.nodes;
  take(sources.model, "model", plan.model);
  take(sources.cluster, "cluster", plan.cluster);
  take(sources.trace, "trace", plan.trace);
  return sources;
}

Result<Scenario> load_scenario(const ScenarioSources& sources) {
  if (sources.model.empty()) return usage_error("no model is named, neither by the plan nor by --model");
  Result<LoadedModel> model = load_model(sources.model);
  if (!model) return blame(model.error(), sources, "model");
  return load_scenario(sources, std::move(*model));
}

Result<Scenario> load_scenario(const ScenarioSources& sources, LoadedModel model) {
  if (sources.cluster.empty()) return usage_error("no cluster is named, neither by the plan nor by --cluster");
  Scenario scenario;
  scenario.sources = sources;
  scenario.model = std::move(model);
  const Result<ClusterSpec> spec = load_cluster(sources.cluster, sources.nodes);
  if (!spec) return blame(spec.error(), sources, "cluster");
  MOESIM_ASSIGN(ClusterView view, compile(*spec));
  scenario.view = std::make_unique<const ClusterView>(std::move(view));
  MOESIM_ASSIGN(const std::vector<Profile> profiles, load_profiles(sources.profiles));
  auto costs = std::make_unique<CostModel>(make_cost_model(*scenario.view, profiles));
  if (sources.regime == regime_name(ExchangeRegime::kFlows)) {
    MOESIM_ASSIGN(LinkPaths links, compile_links(*spec));
    costs->use_flows(std::make_shared<const LinkPaths>(std::move(links)));
  }
  scenario.costs = std::move(costs);
  scenario.notes = scenario.model.notes;
  for (std::string& note :
       notes_of_other_devices(sources.profiles, profiles, device_names(*scenario.view), "the cluster"))
    scenario.notes.push_back(std::move(note));
  MOESIM_TRY(add_routing(scenario));
  return scenario;
}

void describe_scenario(Report& report, const Scenario& scenario) {
  const ScenarioSources& sources = scenario.sources;
  if (!sources.model.empty()) report.inputs.push_back(input_record("model", sources.model));
  report.inputs.push_back(input_record("cluster", sources.cluster));
  if (!sources.trace.empty()) report.inputs.push_back(input_record("trace", sources.trace));
  for (const std::string& profile : sources.profiles) report.inputs.push_back(input_record("profile", profile));
  report.add_rows("calibration", "Where the laws' parameters come from", calibration_table(*scenario.costs)).shown =
      sources.profiles.empty() ? SectionShown::kMachinesOnly : SectionShown::kEverywhere;
  const double error = scenario.costs->expected_relative_error();
  report
      .add_record("scenario", "",
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
  report.notes.push_back(
      fmt::format("times are expected to be off by about {:.0f} %, by the residuals of the laws", error * 100));
}

}  // namespace moesim
