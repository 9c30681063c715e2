#include "sim/simulate/what_if.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "models/cost/law_parameters.hpp"

namespace moesim {
namespace {

// The parts of a ClusterView, to be changed and put together again.
struct ClusterParts {
  std::vector<Tier> tiers;
  std::vector<double> speeds;

  explicit ClusterParts(const ClusterView& view) : tiers(view.tiers().begin(), view.tiers().end()) {
    for (int rank = 0; rank < view.ranks(); ++rank) speeds.push_back(view.speed(RankId(rank)));
  }
  [[nodiscard]] ClusterView assembled_like(const ClusterView& view) const {
    std::vector<std::int32_t> devices;
    std::vector<std::int32_t> nodes;
    for (int rank = 0; rank < view.ranks(); ++rank) {
      devices.push_back(view.device_index(RankId(rank)));
      nodes.push_back(view.node(RankId(rank)).value());
    }
    return ClusterView({view.devices().begin(), view.devices().end()}, std::move(devices), speeds, std::move(nodes),
                       tiers);
  }
};

void double_bandwidth(Tier& tier) {
  for (Port& port : tier.ports) {
    port.out = port.out * 2;
    port.in = port.in * 2;
  }
  tier.pair_limit = tier.pair_limit * 2;
}

class Experiments {
 public:
  Experiments(const Plan& plan, const ModelShape& model, const CostModel& costs, const LoadMapper* trace)
      : plan_(plan), model_(model), costs_(costs), trace_(trace) {}

  Status with_cluster(std::string key, std::string change, const ClusterParts& parts) {
    const ClusterView view = parts.assembled_like(costs_.view());
    std::vector<LawParameters> parameters;
    for (std::size_t device = 0; device < view.devices().size(); ++device)
      parameters.push_back(costs_.parameters(static_cast<int>(device)));
    return add(std::move(key), std::move(change), plan_, CostModel(view, std::move(parameters)), trace_);
  }
  Status with_balanced_routing() {
    return add("balanced_routing", "every expert is chosen equally often", plan_, costs_, nullptr);
  }
  Status with_plan(std::string key, std::string change, const Plan& plan) {
    return add(std::move(key), std::move(change), plan, costs_, trace_);
  }

  [[nodiscard]] std::vector<WhatIf> sorted() && {
    std::stable_sort(results_.begin(), results_.end(),
                     [](const WhatIf& a, const WhatIf& b) { return a.step_time < b.step_time; });
    return std::move(results_);
  }

 private:
  Status add(std::string key, std::string change, const Plan& plan, const CostModel& costs, const LoadMapper* trace) {
    MOESIM_ASSIGN(const SimulatedStep step, simulate_step(plan, model_, costs, trace, {}));
    results_.push_back({std::move(key), std::move(change), step.metrics.step_time, step.metrics.fits});
    return {};
  }

  const Plan& plan_;
  const ModelShape& model_;
  const CostModel& costs_;
  const LoadMapper* trace_;
  std::vector<WhatIf> results_;
};

}  // namespace

Result<std::vector<WhatIf>> what_would_help(const Plan& plan, const ModelShape& model, const CostModel& costs,
                                            const LoadMapper* trace) {
  Experiments experiments(plan, model, costs, trace);
  const ClusterParts original(costs.view());
  for (std::size_t i = 0; i < original.tiers.size(); ++i) {
    ClusterParts parts = original;
    double_bandwidth(parts.tiers[i]);
    const std::string& name = original.tiers[i].name;
    MOESIM_TRY(experiments.with_cluster("link_x2." + name, fmt::format("{} with twice the bandwidth", name), parts));
  }
  ClusterParts parts = original;
  for (Tier& tier : parts.tiers) tier.latency = Seconds(0);
  MOESIM_TRY(experiments.with_cluster("no_link_latency", "links without latency", parts));
  if (std::any_of(original.speeds.begin(), original.speeds.end(), [](double speed) { return speed < 1; })) {
    parts = original;
    for (double& speed : parts.speeds) speed = std::max(speed, 1.0);
    MOESIM_TRY(experiments.with_cluster("no_stragglers", "no rank slower than the others", parts));
  }
  if (trace != nullptr) {
    MOESIM_TRY(experiments.with_balanced_routing());
  }
  if (plan.recompute != Recompute::kNone) {
    Plan kept = plan;
    kept.recompute = Recompute::kNone;
    MOESIM_TRY(experiments.with_plan("no_recompute", "enough memory to recompute nothing", kept));
  }
  return std::move(experiments).sorted();
}

Result<std::vector<ExchangeChoice>> under_each_exchange(const Plan& plan, const ModelShape& model,
                                                        const CostModel& costs, const LoadMapper* trace) {
  std::vector<ExchangeChoice> choices;
  if (model.first_moe() == nullptr || plan.sizes().ep * plan.sizes().esp == 1) return choices;
  for (const ExchangeAlgorithm algorithm : exchange_algorithms()) {
    Plan other = plan;
    other.all_to_all = algorithm;
    MOESIM_ASSIGN(const SimulatedStep step, simulate_step(other, model, costs, trace, {}));
    choices.push_back({algorithm, step.metrics.step_time});
  }
  return choices;
}

}  // namespace moesim
