// SmartMoE's two stages in one number (ATC'23): the step of a plan that a search has found, while a policy moves its experts during
// training.
//
//   step = static - moe * (1 - policy / start) + switching
//   moe  = (experts' computation + exposed token exchange) * (1 + bubble / busy)
// `static` is the simulated step, over the recording as a whole; `moe` what MoE layers take of it in the stage that sets the pace,
// and of its wait for other stages the same share that they have of a stage's own work: busy = step - bubble - start-up and
// end - data-parallel communication - optimizer. So whatever a schedule hides cannot be gained, and what recomputation does twice
// counts twice. `policy` and `start` are the replay's times (replay.hpp) of the stage whose MoE layers take longest, with the
// policy and with the experts where the plan has them; `switching` is that of the stage that moves most, per step.
// Approximate: the ratio is of one EP group that stands for all, one step after another, while `static` pools the steps; what follows
// the load inside other categories (routing, gathers over ESP) stays as it was; drops of a capacity are not in the ratio.
// Worked: static 100 s of 30 s experts, 10 s exposed exchange, 40 s attention, 20 s bubble: moe = 40 * (1 + 20 / 80) = 50 s. The slowest
// stage takes 12 s for 15 s, experts move for 3 s a step: 100 - 50 * 0.2 + 3 = 93 s.
#pragma once

#include <vector>

#include "base/error.hpp"
#include "sim/placement/plan_replay.hpp"
#include "sim/simulate/step.hpp"

namespace moesim {

// Of MoE layers in one iteration.
struct StageTimes {
  Seconds start;      // slowest stage, experts where the plan has them
  Seconds policy;     // slowest stage under the policy, without switches
  Seconds switching;  // of the stage that moves most
};

struct OnlineStep {
  Seconds step_time;
  Seconds moe;           // of the static step
  double moe_ratio = 1;  // policy / start
  Seconds switching;     // per step
  Bytes spare;           // weights and gradients in the spare slots of a rank
  double max_over_mean = 1;
  std::int64_t changes = 0;
  std::int64_t moves = 0;
};

// By `stages` (layers_of_stages) from two replays of the same recording, experts left where they are and moved; `iterations` is
// total_weight() of it. Worked: two layers on two stages take 4 and 6 s, with the policy 5 and 3 s, and switch for 10 s in all 20
// iterations on the second stage alone: {6, 5, 0.5} s.
[[nodiscard]] StageTimes stage_times(const std::vector<std::vector<double>>& stages, const PolicyReplay& still,
                                     const PolicyReplay& moving, double iterations);

// The formula above: step_time, moe, moe_ratio, switching.
[[nodiscard]] OnlineStep combine(const StepMetrics& fixed, const StageTimes& times);

// By `stages` (layers_of_stages) from two replays of the same recording, experts left where they are and moved; `iterations` is
// total_weight() of it. Worked: two layers on two stages take 4 and 6 s, with the policy 5 and 3 s, and switch for 10 s in all 20
// iterations on the second stage alone: {6, 5, 0.5} s.
[[nodiscard]] StageTimes stage_times(const std::vector<std::vector<double>>& stages, const PolicyReplay& still,
                                     const PolicyReplay& moving, double iterations);

// The formula above: step_time, moe, moe_ratio, switching.
[[nodiscard]] OnlineStep combine(const StepMetrics& fixed, const StageTimes& times);

// [stage][MoE layer]: the share of micro-batches that the stage runs the layer for; 1, and with two model copies 1/2, or 0.
[[nodiscard]] Result<std::vector<std::vector<double>>> layers_of_stages(const Plan& plan, const ModelShape& model);

// `fixed`: what simulate_step() said of this plan with the recording pooled. Plans with EP 1 have nothing to move: the static step comes
// back. An error where the spare slots' memory does not fit, and those of replay_of_plan().
[[nodiscard]] Result<OnlineStep> online_step(const Plan& plan, const StepMetrics& fixed, const ModelShape& model,
                                             const CostModel& costs, const SelectionTrace& recording,
                                             const PlacementPolicy& policy, PlacementReplayOptions options);

}  // namespace moesim
