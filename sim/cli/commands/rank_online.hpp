// What `moesim rank` adds to a list of plans on request: a placement policy that moves experts while the recording plays on, and the
// plan that a planner without the recording would have chosen.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sim/cli/scenario.hpp"
#include "sim/placement/online_step.hpp"
#include "sim/search/search.hpp"

namespace moesim {

struct OnlineRequest {
  std::string policy;  // empty: none
  PlacementReplayOptions options;
  bool beside_balanced = false;
};

void add_online_options(CLI::App& command, Session& session, OnlineRequest& request);
// The recording with all its steps; read before a search, so that what is wrong with it is said at once.
struct OnlineRecording {
  const PlacementPolicy* policy = nullptr;
  SelectionTrace trace;
  std::unique_ptr<TokenSample> tokens = std::make_unique<TokenSample>();
};
// Both questions need a recording, the online one all of its steps.
[[nodiscard]] Status check_online(const OnlineRequest& request, const ScenarioSources& sources);

// A plan of the static list in its place with the policy.
struct OnlinePlan {
  int static_rank = 0;  // from 1
  std::optional<OnlineStep> online;
  std::string refusal;  // why there is none
};

// Empty where no policy is named.
[[nodiscard]] Result<OnlineRecording> load_online(const Scenario& scenario, const OnlineRequest& request);

// Orders `plans` by their step with the policy; those without one follow in their old order. The answer is in the new order. Does
// nothing, with an empty answer, where no policy is named.
[[nodiscard]] std::vector<OnlinePlan> order_online(std::vector<RankedPlan>& plans, const Scenario& scenario,
                                                   const OnlineRequest& request, const OnlineRecording& recording,
                                                   int threads);
// The columns that a row of the list of plans gets.
[[nodiscard]] std::vector<Metric> online_metrics(const OnlinePlan& plan, const StepMetrics& fixed);
// How each of them comes about, and what is approximate.
void describe_online(Report& report, const std::vector<OnlinePlan>& plans, const OnlineRequest& request);

// The section "balanced_choice", where asked for: the first of `space` with balanced routing, played with the recording.
[[nodiscard]] Status add_balanced_choice(Report& report, const std::vector<RankedPlan>& plans,
                                         const std::vector<OnlinePlan>& online, const Scenario& scenario,
                                         const SearchSpace& space, const OnlineRequest& request, int threads);

}  // namespace moesim
