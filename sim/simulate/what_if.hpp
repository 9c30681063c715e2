// What would help most: the same plan simulated again with one thing changed, each change by itself.
//
//   links     every tier of the cluster with twice the bandwidth, one tier at a time
//   latency   all links without latency
//   routing   every expert equally often, where a trace says otherwise
//   speed     no rank slower than the others
//   memory    no recomputation, where the plan recomputes (it may not fit: `fits` says)
// Gains are within the model and do not add up: two changes together may gain less, or more.
#pragma once

#include <string>
#include <vector>

#include "base/error.hpp"
#include "sim/simulate/step.hpp"

namespace moesim {

struct WhatIf {
  std::string key;     // "link_x2.nvlink", "balanced_routing"
  std::string change;  // for people
  Seconds step_time;
  bool fits = false;
};

// Largest gain first.
[[nodiscard]] Result<std::vector<WhatIf>> what_would_help(const Plan& plan, const ModelShape& model,
                                                          const CostModel& costs, const LoadMapper* trace);

// The plan's step with its token exchanges by each algorithm, in the list's order; empty where nothing is exchanged.
struct ExchangeChoice {
  ExchangeAlgorithm algorithm = ExchangeAlgorithm::kLinear;
  Seconds step_time;
};
[[nodiscard]] Result<std::vector<ExchangeChoice>> under_each_exchange(const Plan& plan, const ModelShape& model,
                                                                      const CostModel& costs, const LoadMapper* trace);

}  // namespace moesim
