#include "sim/cli/commands/rank_online.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "sim/cli/commands/replay_options.hpp"
#include "sim/cli/plan_metrics.hpp"
#include "sim/cli/routing_source.hpp"
#include "sim/search/parallel.hpp"
#include "sim/simulate/step.hpp"

namespace moesim {
namespace {

OnlinePlan ask_online(const RankedPlan& ranked, const OnlineSetting& setting, const PlacementPolicy& policy,
                      const OnlineRequest& request) {
  OnlinePlan result;
  Result<OnlineStep> online = online_step(ranked.plan, ranked.metrics, setting, policy, request.options);
  if (online)
    result.online = *online;
  else
    result.refusal = online.error().what;
  return result;
}

// Faster is positive.
double gain(Seconds before, Seconds after) { return before / after - 1; }

bool once_per_node(const OnlinePlan& plan) {
  return plan.online && plan.online->dispatch == TokenDispatch::kOncePerNode;
}

MetricTable online_table(const std::vector<OnlinePlan>& plans) {
  const MetricShown shown =
      std::ranges::any_of(plans, once_per_node) ? MetricShown::kEverywhere : MetricShown::kMachinesOnly;
  MetricTable table(
      {{"rank", MetricUnit::kNone, "rank", ""},
       {"static_rank", MetricUnit::kNone, "static rank", "With the experts where the plan has them"},
       {"replayed_s", MetricUnit::kSeconds, "replayed", "The step without copies' and moves' own time"},
       {"experts_ratio", MetricUnit::kFactor, "experts", "Their time with the policy over that without it"},
       {"exchange_ratio", MetricUnit::kFactor, "exchanges", "The same of token exchanges"},
       {"dispatch", MetricUnit::kNone, "dispatch", "What is sent of a token, by which the policy is judged", shown},
       {"copies_s", MetricUnit::kSeconds, "for copies", "Their gradients and weights, per step"},
       {"switching_s", MetricUnit::kSeconds, "switching", "Of experts, per step"},
       {"changes", MetricUnit::kNone, "changes", "Of the placement of a layer"},
       {"moves", MetricUnit::kNone, "moves", "Experts whose weights were sent to another device"},
       {"max_over_mean", MetricUnit::kFactor, "busiest / mean", "Rows of devices with the policy"},
       {"spare_bytes", MetricUnit::kBytes, "spare slots", "Weights and gradients in those of a rank"},
       {"refused", MetricUnit::kNone, "refused", "Why there is no step with the policy"}});
  for (std::size_t i = 0; i < plans.size(); ++i) {
    const OnlinePlan& plan = plans[i];
    std::vector<MetricValue> row{static_cast<std::int64_t>(i + 1), std::int64_t{plan.static_rank}};
    if (plan.online) {
      const OnlineStep& o = *plan.online;
      row.insert(row.end(), {o.replayed.value(), o.overall.compute, o.overall.exchange,
                             std::string(once_per_node(plan) ? "once-per-node" : "copies"), o.copies.value(),
                             o.switching.value(), o.changes, o.moves, o.max_over_mean, o.spare.count(), MetricValue()});
    } else {
      row.resize(table.columns().size() - 1);
      row.emplace_back(plan.refusal);
    }
    table.add_row(std::move(row));
  }
  return table;
}

}  // namespace

void add_online_options(CLI::App& command, Session& session, OnlineRequest& request) {
  constexpr const char* kGroup = "Recording";
  std::vector<std::string> names;
  for (const PlacementPolicy* policy : placement_policies()) names.emplace_back(policy->name());
  CLI::Option* online =
      session
          .add_choice(command, "--online", request.policy, std::move(names),
                      "Let this policy move experts while the recording plays on, and order the list by that")
          ->group(kGroup);
  for (CLI::Option* option : add_period_options(command, request.options)) option->needs(online)->group(kGroup);
  command
      .add_flag("--beside-balanced", request.beside_balanced,
                "Also tell what a planner that does not know the recording would choose, and what that takes")
      ->group(kGroup);
}

Status check_online(const OnlineRequest& request, const ScenarioSources& sources) {
  const bool online = !request.policy.empty();
  if (!online && !request.beside_balanced) return {};
  if (sources.trace.empty())
    return usage_error(fmt::format("{} compares with a recording", online ? "--online" : "--beside-balanced"),
                       "give --trace");
  if (online && sources.trace_step >= 0)
    return usage_error("--online plays all recorded steps, --trace-step names one", "leave one of them out");
  return {};
}

Result<OnlineRecording> load_online(const Scenario& scenario, const OnlineRequest& request) {
  OnlineRecording result;
  if (request.policy.empty()) return result;
  if (scenario.model.shape.first_moe() == nullptr)
    return usage_error("--online: the model has no experts to place", "leave it out");
  MOESIM_ASSIGN(result.policy, find_placement_policy(request.policy));
  const ScenarioSources& sources = scenario.sources;
  std::vector<std::string> told;  // by the scenario, which has read it before
  MOESIM_ASSIGN(result.trace,
                load_recording({sources.trace, -1, sources.import, &scenario.model.shape}, told, result.tokens.get()));
  if (const Status good = check_tokens(*result.policy, !result.tokens->empty()); !good)
    return usage_error("--online: " + good.error().what, good.error().hint);
  if (result.trace.dims().steps < 2)
    return invalid_input("--online needs at least two recorded steps, there is one", sources.trace,
                         "a policy decides on past steps and is judged on the next");
  return result;
}

std::vector<OnlinePlan> order_online(std::vector<RankedPlan>& plans, const Scenario& scenario,
                                     const OnlineRequest& request, const OnlineRecording& recording, int threads) {
  if (recording.policy == nullptr) return {};
  const OnlineSetting setting{scenario.model.shape, *scenario.costs, *scenario.trace, recording.trace,
                              *recording.tokens};
  std::vector<OnlinePlan> asked(plans.size());
  parallel_for(plans.size(), threads, [&](std::size_t i) {
    asked[i] = ask_online(plans[i], setting, *recording.policy, request);
    asked[i].static_rank = static_cast<int>(i) + 1;
  });
  std::vector<std::size_t> order(plans.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    if (!asked[a].online || !asked[b].online) return asked[a].online.has_value() && !asked[b].online;
    return asked[a].online->step_time < asked[b].online->step_time;
  });
  std::vector<RankedPlan> ordered;
  std::vector<OnlinePlan> result;
  for (const std::size_t i : order) {
    ordered.push_back(std::move(plans[i]));
    result.push_back(std::move(asked[i]));
  }
  plans = std::move(ordered);
  return result;
}

std::vector<Metric> online_metrics(const OnlinePlan& plan, const StepMetrics& fixed) {
  const auto value = [&](double number) { return plan.online ? MetricValue(number) : MetricValue(); };
  const Seconds step = plan.online ? plan.online->step_time : fixed.step_time;
  return {{{"online_step_time_s", MetricUnit::kSeconds, "online", "The step with the policy, switches included"},
           value(step.value())},
          {{"online_gain", MetricUnit::kRatio, "gain", "Static step over online step, less 1"},
           value(gain(fixed.step_time, step))}};
}

void describe_online(Report& report, const std::vector<OnlinePlan>& plans, const OnlineRequest& request) {
  report.add_rows("online",
                  fmt::format("With {}, every {} iterations, spare slots {}", request.policy, request.options.period,
                              request.options.spare_slots),
                  online_table(plans));
  report.notes.push_back(
      fmt::format("online: the {} plans of the static list, ordered by the step with {}; others were not asked (--top)",
                  plans.size(), request.policy));
  report.notes.emplace_back(
      "online step = the static step played again with each MoE layer's experts and exchanges as much faster or slower "
      "as in a replay of all recorded steps, and copies and switches; one EP group stands for all, and the static "
      "step has the recording as a whole");
}

Status add_balanced_choice(Report& report, const std::vector<RankedPlan>& plans, const std::vector<OnlinePlan>& online,
                           const Scenario& scenario, const SearchSpace& space, const OnlineRequest& request,
                           int threads) {
  if (!request.beside_balanced) return {};
  SearchOptions options;
  options.top = 1;
  options.threads = threads;
  const ModelShape& model = scenario.model.shape;
  MOESIM_ASSIGN(const RankResult blind, rank_plans(model, *scenario.costs, nullptr, space, options));
  const RankedPlan& choice = blind.plans.front();
  MOESIM_ASSIGN(const SimulatedStep step, simulate_step(choice.plan, model, *scenario.costs, scenario.loads(), {}));
  const auto place = std::ranges::find_if(plans, [&](const RankedPlan& ranked) { return ranked.plan == choice.plan; });
  const Seconds first =
      online.empty() || !online.front().online ? plans.front().metrics.step_time : online.front().online->step_time;
  std::vector<Metric> row = {
      {{"rank", MetricUnit::kNone, "rank", "In the list above; none: not in it"},
       place == plans.end() ? MetricValue() : MetricValue(static_cast<std::int64_t>(place - plans.begin() + 1))},
      {{"name", MetricUnit::kNone, "plan", "Run name"}, run_name(choice.plan)}};
  for (Metric& metric : plan_metrics(choice.plan)) {
    metric.column.shown = metric.column.key == "pipeline" || metric.column.key == "recompute"
                              ? MetricShown::kEverywhere
                              : MetricShown::kMachinesOnly;
    row.push_back(std::move(metric));
  }
  row.push_back({{"promised_s", MetricUnit::kSeconds, "promised", "Its step with balanced routing"},
                 choice.metrics.step_time.value()});
  row.push_back({{"step_time_s", MetricUnit::kSeconds, "step", "With the recording"}, step.metrics.step_time.value()});
  row.push_back({{"fits", MetricUnit::kNone, "fits", "With the recording"}, step.metrics.fits});
  row.push_back({{"over_first", MetricUnit::kFactor, "over the first",
                  "That step over the first of the list above, which knows the recording and has the policy"},
                 step.metrics.step_time / first});
  MetricTable table;
  add_record_row(table, row, RowTone::kPlain);
  report.add_rows("balanced_choice", "Data-blind choice: the first of this space with balanced routing",
                  std::move(table));
  return {};
}

}  // namespace moesim
