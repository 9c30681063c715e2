// What the simulator says of a job before it runs: each operation of each rank, and the step.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "exec/cli/job.hpp"
#include "models/cost/cost_model.hpp"
#include "sim/engine/price.hpp"
#include "sim/engine/replay.hpp"

namespace moesim {

[[nodiscard]] Seconds seconds_of(Picoseconds time);

struct PredictionOptions {
  std::string cluster;  // empty: the plan's
  int nodes = 0;
  std::vector<std::string> profiles;
  [[nodiscard]] bool given() const { return !cluster.empty() || nodes > 0 || !profiles.empty(); }
};
// --cluster, --nodes, --profile.
void add_prediction_options(CLI::App& command, Session& session, PredictionOptions& options);

// Every rank is played (no folding). Where computation is a wait, communication beside it does not slow it down.
struct Prediction {
  std::unique_ptr<const ClusterView> view;  // on the heap because `costs` refers to it
  std::unique_ptr<const CostModel> costs;
  PricedProgram priced;
  std::vector<Interval> intervals;  // entity: the rank
  Seconds step;
  std::vector<std::string> notes;
};
[[nodiscard]] Result<Prediction> predict(const PredictionOptions& options, const Job& job, const JobOptions& how);

// With --compute wait: operations take as long as predicted.
[[nodiscard]] RankWaits waits_for(const Prediction& prediction, const Job& job);

}  // namespace moesim
