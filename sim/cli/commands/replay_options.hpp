// What `moesim replay` is asked: the MoE layers of a model or of plain sizes on the devices of one EP group, a recording, and how
// placements are decided.
#pragma once

#include <CLI/CLI.hpp>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sim/cli/commands/layer_options.hpp"
#include "sim/placement/layer_fit.hpp"
#include "sim/placement/replay.hpp"

namespace moesim {

struct ReplayRequest {
  std::string plan;        // whose EP group, batch and expert_slots are taken; empty: of the options
  LayerRequest layer;      // sources, plain sizes, precision and EP; --trace is read by the replay
  std::int64_t batch = 0;  // sequences of a device in one micro-batch; 0: as recorded
  std::int64_t seq = 0;
  int micro_batches = 0;              // 0: as recorded
  std::string layer_times;            // measured; empty: by the laws
  std::vector<std::string> policies;  // empty: all
  std::string predictor = "last";
  std::string accept = "time";
  std::string switching = "batched";
  std::string optimizer = "moves";
  std::string dispatch = "copies";
  PlacementReplayOptions options;
  bool search = false;
  std::string rows = "policies";
  std::string plot;
  std::string plan_out;  // the plan with experts where the policy leaves them
  int jobs = 0;
};

// --period, --hysteresis and --spare-slots.
std::array<CLI::Option*, 3> add_period_options(CLI::App& command, PlacementReplayOptions& options);

void add_replay_options(CLI::App& command, Session& session, ReplayRequest& request);

struct ReplayScenario {
  LayerScenario layer;
  ReplayTrace trace;
  LayerTimeModel model;
  std::optional<LayerFit> fit;  // where layer times were measured; `model` is its
  PlacementReplayOptions options;
  std::vector<const PlacementPolicy*> policies;  // the static one first
  std::optional<PlanFile> plan;
};
[[nodiscard]] Result<ReplayScenario> load_replay_scenario(const ReplayRequest& request);

}  // namespace moesim
