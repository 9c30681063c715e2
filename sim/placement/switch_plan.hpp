// What it costs to go from one placement to another, and to keep copies of an expert equal.
//
// Each device that newly holds an expert gets its weights from the nearest device that held it (its own node before others, the lower
// number first). One holder of each expert is its home: there stand the optimizer's state and the sum of its gradients. A home that
// no longer holds the expert hands the state to the first device that does, unless the state does not follow the experts
// (sharded over all devices, as in SYMI). SmartMoE's artifact moves weights alone, one expert after the other; a run with Adam
// that did so would lose its moments.
//   serial   sum over transfers of their time                                  (placement of the artifact)
//   batched  one exchange of all of them: the busiest port decides
// Where replicas of the EP group each keep a part (ZeRO over EDP; LayerTimeModel::cut), all of them move together, each number of weights
// and state from the rank whose part it was in to the one whose part it will be in: of the weights too, since the next step gathers whole
// ones from these parts as after any update. That holds inside a device as well, where an expert takes another of its slots
// (sim/plan/expert_parts.hpp).
// Copies: in each iteration every copy sends its gradients home and gets the new weights back, batched.
// Worked, 1 B/s ports, no start-up, 3 B of weights, 5 B of state: experts 0 and 1 change places between devices 0 and 1: four
// transfers, serial 3 + 5 + 3 + 5 = 16 s, batched 8 s. The same with 5 replicas, weights of 10 B: each of the
// ten ranks sends a fifth of 10 and 5 B, 3 B in 3 s.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/placement/layer_time.hpp"

namespace moesim {

enum class SwitchOrder : std::uint8_t { kSerial, kBatched };
enum class OptimizerState : std::uint8_t { kMoves, kStays };

struct ExpertTransfer {
  std::int32_t expert = 0;
  std::int32_t from = 0;  // device; with cut replicas a rank of theirs
  std::int32_t to = 0;
  Bytes size;
  bool operator==(const ExpertTransfer&) const = default;
};

struct SwitchPlan {
  std::vector<ExpertTransfer> transfers;  // by expert
  std::vector<std::int32_t> homes;        // [expert], afterwards
  int moves = 0;                          // copies of weights that reach another device, of one replica
  [[nodiscard]] Bytes bytes() const;      // of all
};

// The device of the first slot of each expert.
[[nodiscard]] std::vector<std::int32_t> first_homes(const ExpertPlacement& placement);

[[nodiscard]] SwitchPlan plan_switch(const LayerTimeModel& model, const ExpertPlacement& before,
                                     std::span<const std::int32_t> homes, const ExpertPlacement& after,
                                     OptimizerState optimizer);
[[nodiscard]] Seconds switch_seconds(const LayerTimeModel& model, const SwitchPlan& plan, SwitchOrder order);

// Of one iteration: gradients of all copies home, new weights back. 0 without copies.
[[nodiscard]] Seconds copies_seconds(const LayerTimeModel& model, const ExpertPlacement& placement,
                                     std::span<const std::int32_t> homes);

}  // namespace moesim
