// SmartMoE's two stages in one number (ATC'23): the step of a plan that a search has found, while a policy moves its experts during
// training.
//
//   step = replayed + copies + switching
// `replayed`: the simulated step, over the recording as a whole, played once more with the experts' operations of every MoE layer, and
// whatever else a rank does for each copy that reached it, taking c times as long and its token exchanges e times; c and e are the layer's mean times in the replay of the recording
// (replay.hpp) with the policy over those with experts left where the plan has them. So whatever a schedule hides, a pipeline waits
// for or recomputation does twice comes out as it does in any step. `copies` and `switching`: of the stage that spends most on
// gradients and weights of copies, and on moving experts, per step, hidden behind nothing.
// A plan whose MoE schedule sends a token once to each node (MoeSchedule::visits) is judged by that where the recording has a row for
// each token and there are no spare slots, over the nodes that the plan counts with; every other plan by copies.
// Approximate: c and e are of one EP group that stands for all, one recorded step after another, while the simulated step pools
// them; drops of a capacity are not in c and e.
// Worked: 100 s of one stage without overlap, 40 s experts and 20 s exchanges in two equal layers; c = e = 0.75 in both, 0.5 s of
// switching: 100 - 10 - 5 + 0.5 = 85.5 s.
#pragma once

#include <vector>

#include "base/error.hpp"
#include "sim/placement/plan_replay.hpp"
#include "sim/simulate/step.hpp"

namespace moesim {

struct MoeLayerScale {
  double compute = 1;
  double exchange = 1;
};
// By MoE layer, from two replays of the same recording: experts left where they are, and moved.
[[nodiscard]] std::vector<MoeLayerScale> layer_scales(const PolicyReplay& still, const PolicyReplay& moving);

// The step played with its MoE layers so much slower or faster. `step` must have been simulated.
[[nodiscard]] Seconds play_scaled(const SimulatedStep& step, const std::vector<MoeLayerScale>& scales);

struct OnlineStep {
  Seconds step_time;
  Seconds replayed;
  Seconds copies;                                   // per step
  Seconds switching;                                // per step
  MoeLayerScale overall;                            // of all layers' times together
  Bytes spare;                                      // weights and gradients in the spare slots of a rank
  TokenDispatch dispatch = TokenDispatch::kCopies;  // what decisions were made and judged by
  double max_over_mean = 1;
  std::int64_t changes = 0;
  std::int64_t moves = 0;
};

// Copies and switching of the stage that has most of each. `stages` as layers_of_stages() gives them, `iterations` the recording's
// total_weight(). Worked: two layers on two stages switch for 10 and 30 s in all 20 iterations: 1.5 s a step.
struct StageExtras {
  Seconds copies;
  Seconds switching;
};
[[nodiscard]] StageExtras largest_extras(const std::vector<std::vector<double>>& stages, const PolicyReplay& moving,
                                         double iterations);

// What a plan is asked with.
struct OnlineSetting {
  const ModelShape& model;
  const CostModel& costs;
  const LoadMapper& pooled;  // of the recording, all steps together
  const SelectionTrace& recording;
  const TokenSample& tokens;  // of it; empty where it has counts only
};
// `fixed`: what simulate_step() says of this plan. Plans with EP 1 have nothing to move: the static step comes back. An error where
// the spare slots' memory does not fit, and those of replay_of_plan().
[[nodiscard]] Result<OnlineStep> online_step(const Plan& plan, const StepMetrics& fixed, const OnlineSetting& setting,
                                             const PlacementPolicy& policy, PlacementReplayOptions options);

}  // namespace moesim
