// A recording played through placement policies: each decides on what was, is judged on what came, and pays for its moves.
//
// At a recorded step whose iteration is at least `period` after the last decision (never at the first step) a policy is asked for
// every MoE layer. It sees what the predictor makes of the records before this step. A proposal is taken by one rule for all:
//   time  dwell * (T(current) - T(proposal)) > T(switch) and T(current) > hysteresis * T(proposal)
//         predicted times of the layer, dwell = period, copies' gradients included; the static placement is a proposal as well,
//         so that a policy whose copies no longer pay gives them up; and at every record a layer that has lost more to the static
//         placement than it gained goes back there, until its decisions on paper have made up for it (static_account.hpp)
//   promise the same without looking back
//   load  busiest(current) > hysteresis * busiest(proposal)                       SmartMoE's own rule, blind to cost
// The layer's time over the recorded counts, from this step on, is that of the placement taken; the switch is added at this step.
// A step stands for all iterations up to the next record. Times are of the MoE layers of one micro-batch after the other, forward and
// backward (layer_time.hpp); attention and the rest of a step are not in them.
// A recording with token rows also tells on how many nodes and devices the experts of a token stand, and can be judged with a
// dispatcher that sends a token once to each of them (token_exchange.hpp). A decision then sees the last tokens before it: of at most
// kTokenRecords records, at most kTokenWindow rows.
// Worked: static 10 s an iteration over 100 iterations; a policy that decides at iteration 50, takes 8 s from then on and 30 s to
// switch: 500 + 30 + 400 = 930 s, 9.3 s in the mean, 0.3 s of it switching.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "sim/placement/policy.hpp"
#include "sim/placement/predictor.hpp"
#include "sim/placement/replay_trace.hpp"
#include "sim/placement/switch_plan.hpp"
#include "sim/placement/token_spread.hpp"
#include "sim/plan/expert_slots.hpp"

namespace moesim {

enum class AcceptRule : std::uint8_t { kTime, kPromise, kLoad };
// What is sent over the network: each copy of a token, or a token once to each node that it visits.
enum class TokenDispatch : std::uint8_t { kCopies, kOncePerNode };

constexpr int kTokenRecords = 8;
constexpr std::size_t kTokenWindow = 2048;

struct PlacementReplayOptions {
  std::int64_t period = 10;  // iterations: "dyn.10"
  PredictorKind predictor = PredictorKind::kLast;
  AcceptRule accept = AcceptRule::kTime;
  double hysteresis = 1.02;
  SwitchOrder switching = SwitchOrder::kBatched;
  OptimizerState optimizer = OptimizerState::kMoves;
  TokenDispatch dispatch = TokenDispatch::kCopies;  // once per node: the trace has tokens, and experts have no copies
  int spare_slots = 0;                              // per device, beyond experts / devices
  int expert_groups = 0;
  // Where experts stand before anything is decided, which is then what "static" means; by default contiguous. Slots of the EP
  // group without spare ones, so devices must divide experts.
  ExpertSlots start = {};
  // Micro-batches of an iteration that each one of the trace stands for: 32 micro-batches of which 4 are in the trace are 8.
  int repeats = 1;
};

// One recorded step of one policy, all layers together.
struct ReplayStep {
  Seconds iteration;         // one iteration, copies' gradients included, without switches
  Seconds switching;         // once, when placements change at this step
  double max_over_mean = 1;  // rows of devices, mean over layers and micro-batches
};

// One MoE layer: means over iterations, of all their micro-batches.
struct LayerTotals {
  Seconds compute;
  Seconds exchange;        // and what is fixed, and shadows
  Seconds copies;          // their gradients and weights
  Seconds switching;       // of all iterations together
  PlacementDecision last;  // after the last record
  [[nodiscard]] Seconds iteration() const { return compute + exchange + copies; }
};

struct PolicyReplay {
  std::string_view policy;
  std::vector<LayerTotals> layers;
  std::vector<ReplayStep> steps;
  // Over all iterations.
  Seconds mean_iteration;  // switches included
  Seconds mean_copies;     // of it, gradients and weights of copies
  Seconds switching;       // altogether
  double max_over_mean = 1;
  std::int64_t decisions = 0;  // layers asked
  std::int64_t changes = 0;    // of placements: proposals taken, and what `stops` and returns bring
  std::int64_t stops = 0;      // times that a layer went back to the static placement for what it had lost
  std::int64_t moves = 0;      // weights of an expert copied to another device
  Bytes moved;                 // with the optimizer's state
  double shadowed = 0;         // experts per layer, mean
  double copies = 0;           // beyond one, per layer, mean
  // Means over tokens, of layers and iterations; nothing without token rows, or where an expert stood more than once.
  std::optional<TokenSpread> spread;
};

// What the trace allows, whatever the policy.
struct ReplayBounds {
  // [step], of one iteration (oracle.hpp)
  std::vector<Seconds> oracle;
  Seconds mean_oracle;
  double hot_expert = 1;  // least max/mean of a permutation (counts.hpp), mean over steps and layers
  double contiguous = 1;  // max/mean of neighbouring experts, likewise
};

[[nodiscard]] PlacementSizes replay_sizes(const ReplayTrace& trace, const PlacementReplayOptions& options);
[[nodiscard]] PolicyReplay replay_policy(const ReplayTrace& trace, const LayerTimeModel& model,
                                         const PlacementPolicy& policy, const PlacementReplayOptions& options);
[[nodiscard]] ReplayBounds replay_bounds(const ReplayTrace& trace, const LayerTimeModel& model,
                                         const PlacementReplayOptions& options);
// Iterations that the recording stands for.
[[nodiscard]] double total_weight(const ReplayTrace& trace);
// Policies side by side, on so many threads; the result does not depend on them.
[[nodiscard]] std::vector<PolicyReplay> replay_policies(const ReplayTrace& trace, const LayerTimeModel& model,
                                                        std::span<const PlacementPolicy* const> policies,
                                                        const PlacementReplayOptions& options, int threads);

// The best period and hysteresis of one policy among the given ones, by mean_iteration; the first of equals.
struct TunedReplay {
  std::int64_t period = 0;
  double hysteresis = 1;
  PolicyReplay replay;
};
struct TuningSpace {
  std::vector<std::int64_t> periods;
  std::vector<double> hysteresis;
};
// Periods of the recording's stride times 1, 2, 5, 10, 20, 50 as far as they fit into it; hysteresis 1, 1.02, 1.05, 1.1, 1.2.
[[nodiscard]] TuningSpace default_tuning_space(const ReplayTrace& trace);
[[nodiscard]] TunedReplay tune_policy(const ReplayTrace& trace, const LayerTimeModel& model,
                                      const PlacementPolicy& policy, const PlacementReplayOptions& options,
                                      const TuningSpace& space, int threads);

}  // namespace moesim
