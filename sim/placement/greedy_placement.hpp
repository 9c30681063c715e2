// SmartMoE's online placement (ATC'23; its artifact's greedy search): longest processing time first, with equal numbers of experts.
//
// Experts are visited by falling load; each goes to the least loaded device that has a free place (the lowest number wins ties, but
// the expert's old device wins when it has a free place and exactly that load). Slots are dealt in the order of arrival, as in the
// artifact, or kept where an expert stays on its device, so that fewer weights are copied. Places per device: experts / devices,
// rounded up; further slots stay empty.
// Worked: loads {5, 4, 3, 2} on 2 devices: 0 -> 0, 1 -> 1, 2 -> 1, 3 -> 0: loads 7 and 7.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/placement/expert_placement.hpp"

namespace moesim {

enum class GreedySlots : std::uint8_t { kAsDealt, kStable };

struct GreedyOptions {
  GreedySlots slots = GreedySlots::kStable;
  // Experts in the order in which they are visited; empty: by falling load, the lower number first among equals. The artifact's own
  // order among equals is that of an unstable sort.
  std::span<const std::int32_t> order;
};

// `current` must be without copies. One load per expert.
[[nodiscard]] ExpertPlacement greedy_placement(std::span<const double> loads, const ExpertPlacement& current,
                                               const GreedyOptions& options);

// Load of each device under a placement, copies of an expert sharing it evenly.
[[nodiscard]] std::vector<double> device_loads(std::span<const double> loads, const ExpertPlacement& placement);
[[nodiscard]] double busiest_device_load(std::span<const double> loads, const ExpertPlacement& placement);

// Expert numbers by falling load, the lower number first among equals.
[[nodiscard]] std::vector<std::int32_t> by_falling_load(std::span<const double> loads);

}  // namespace moesim
