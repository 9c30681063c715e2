#include "sim/sweep/evaluator.hpp"

#include <fmt/format.h>

#include "calibration/profile.hpp"
#include "models/cluster/cluster_source.hpp"
#include "models/shape/model_source.hpp"
#include "sim/lower/ep_nodes.hpp"
#include "sim/report/report.hpp"
#include "sim/report/sha256.hpp"
#include "sim/simulate/step.hpp"
#include "traces/import.hpp"

namespace moesim {
namespace {

bool is_balanced(const std::string& trace) { return trace.empty() || trace == kBalancedRouting; }

// What makes two files of the same name different; built-in sources have neither size nor hash.
std::string identity(std::string role, const std::string& source) {
  const InputRecord record = input_record(std::move(role), source);
  return fmt::format("\n{} {} {} {}", record.role, record.source, record.bytes.value_or(-1), record.sha256);
}

// Sizes that do not divide, which check_plan would never see.
Status check_divisible(const ParallelSizes& s, int world) {
  if (s.dp == 0)
    return invalid_input(
        fmt::format("world size ({}) is not divisible by tp x cp x pp ({} x {} x {})", world, s.tp, s.cp, s.pp));
  if (s.edp == 0)
    return invalid_input(
        fmt::format("world size ({}) is not divisible by esp x ep x pp ({} x {} x {})", world, s.esp, s.ep, s.pp));
  return {};
}

}  // namespace

SweepEvaluator::Cluster::Cluster(ClusterView compiled) : view(std::move(compiled)), costs(make_cost_model(view)) {}

Result<SweepEvaluator> SweepEvaluator::create(SweepSpec spec) {
  SweepEvaluator evaluator(std::move(spec));
  MOESIM_TRY(evaluator.load());
  return evaluator;
}

Status SweepEvaluator::load() {
  std::string identities = spec_.canonical_text();
  for (const std::string& source : spec_.words(SweepField::kModel)) {
    MOESIM_ASSIGN(LoadedModel model, load_model(source));
    models_.emplace(source, std::move(model.shape));
    identities += identity("model", source);
  }
  for (const std::string& source : spec_.words(SweepField::kCluster)) {
    identities += identity("cluster", source);
    for (const int nodes : spec_.node_counts()) {
      MOESIM_ASSIGN(const ClusterSpec cluster, load_cluster(source, nodes));
      MOESIM_ASSIGN(ClusterView view, compile(cluster));
      clusters_.emplace(std::pair(source, nodes), std::make_unique<const Cluster>(std::move(view)));
    }
  }
  for (const std::string& source : spec_.words(SweepField::kTrace)) {
    if (is_balanced(source)) continue;
    if (source == "-") return usage_error("a sweep cannot read a trace from stdin", "save it to a file first");
    MOESIM_ASSIGN(const LoadedTrace loaded, load_trace(source, spec_.import()));
    MOESIM_ASSIGN(LoadMapper mapper, LoadMapper::create(loaded.trace, -1));
    traces_.emplace(source, Trace{std::move(mapper), loaded.trace.info.origin});
    identities += identity("trace", source);
  }
  fingerprint_ = sha256_hex(identities);
  return {};
}

PointOutcome SweepEvaluator::outcome(const PlanFile& file, const Cluster& cluster, const Trace* trace) const {
  const ModelShape& model = models_.at(file.model);
  const int world = cluster.view.ranks();
  Status valid = check_divisible(file.plan.sizes(), world);
  if (valid) valid = check_plan(file.plan, model, world);
  if (!valid) return {PointStatus::kInvalid, valid.error().what, {}};
  const Result<Plan> plan = with_ep_nodes(file.plan, cluster.view);
  if (!plan) return {PointStatus::kInvalid, plan.error().what, {}};
  const Result<SimulatedStep> step =
      simulate_step(*plan, model, cluster.costs, trace == nullptr ? nullptr : &trace->loads, {});
  if (step) return {PointStatus::kOk, {}, step->metrics};
  const bool ours = step.error().kind == ErrorKind::kInternal;
  return {ours ? PointStatus::kFailed : PointStatus::kInvalid, step.error().what, {}};
}

SweepRow SweepEvaluator::evaluate(std::int64_t point) const {
  PlanFile file = spec_.point(point);
  const Cluster& cluster = *clusters_.at({file.cluster, file.nodes});
  spec_.derive_sizes(file, cluster.view.ranks());
  const auto found = traces_.find(file.trace);
  const Trace* trace = found == traces_.end() ? nullptr : &found->second;
  const PointSources sources{cluster.view.nodes(), trace == nullptr ? std::nullopt : std::optional(trace->origin)};
  return make_row(point, file, sources, outcome(file, cluster, trace));
}

}  // namespace moesim
