// What a replay of placements needs, read off a plan: the recording as the plan's EP group would see it, the price of its layers, and
// where its experts stand.
//
// The first EP group of the layout stands for all: its devices are the plan's own ranks, its sources share the whole recording, so
// that decisions rest on the sum over data-parallel ranks as SmartMoE's do. Of M micro-batches the trace holds as many as were
// recorded and divide M, each for `repeats` of M; at most kMostReplayedMicroBatches. With ESP a device is a group of shards: it has
// the tokens of all of them, each computes 1/ESP of an expert's width and sends 1/ESP of a row.
// Worked: EP 4, ESP 2, TP 1, micro-batches of 4096 tokens, 12 of them, 2 recorded: 4 devices of 8192 tokens, 2 micro-batches in the
// trace, repeats 6.
#pragma once

#include <vector>

#include "base/error.hpp"
#include "models/cost/cost_model.hpp"
#include "models/shape/model_shape.hpp"
#include "sim/placement/replay.hpp"
#include "sim/plan/plan.hpp"

namespace moesim {

constexpr int kMostReplayedMicroBatches = 4;

struct PlanReplay {
  ReplayTrace trace;
  LayerTimeModel model;
  ExpertSlots start;
  int spare_slots = 0;  // of a device, that the plan has
  int repeats = 1;
  int expert_groups = 0;

  // The plan's part of the options; spare slots are the larger number of both.
  void put_into(PlacementReplayOptions& options) const;
};

// `plan` must have passed check_plan(). Errors: no experts, a recording of another number of experts or of one step, an EP group
// over several kinds of devices.
[[nodiscard]] Result<PlanReplay> replay_of_plan(const Plan& plan, const ModelShape& model, const CostModel& costs,
                                                const SelectionTrace& recording);

// [stage][MoE layer]: the share of micro-batches that the stage runs the layer for; 1, and with two model copies 1/2, or 0.
[[nodiscard]] Result<std::vector<std::vector<double>>> layers_of_stages(const Plan& plan, const ModelShape& model);

// One change of slots between two steps of a plan: what the busiest rank sends, and how long it takes, each layer's weights and
// optimizer state in one exchange, the layers of a stage one after the other.
struct PlanSwitch {
  Bytes sent;
  Seconds time;
};
// Both slots as in check_plan(). Worked: experts of 3 B of weights and 5 B of state, 1 B/s; two layers of one stage change one expert
// each between two devices: 8 B and 8 s a layer, 16 B and 16 s.
[[nodiscard]] Result<PlanSwitch> switch_of_plan(const Plan& plan, const ExpertSlots& next, const ModelShape& model,
                                                const CostModel& costs);

// Where the policy leaves the experts after the last record, as a plan says it: with spare slots homes first (homes_first). A second copy
// on one device is left out. An error for what a plan cannot say: shadowed experts, copies whose tokens are not dealt out evenly.
[[nodiscard]] Result<ExpertSlots> slots_after(const PolicyReplay& replay);

}  // namespace moesim
