// EPLB, the balancer of DeepSeek-V3's experts (github.com/deepseek-ai/EPLB): copies for the busiest, equal numbers on every device.
//
// 1. pack groups of neighbouring experts onto nodes, equal numbers, busiest group to the least loaded node;
// 2. inside each node add copies one by one to the expert with the largest load per copy until its slots are filled;
// 3. pack the copies onto the node's devices, equal numbers, busiest copy to the least loaded device.
// Ties go to the lower number; a pack of one item each is left in order. `kGlobal`: one node, one group per node.
// Worked (step 2): loads {90, 30}, 3 slots: the copy goes to expert 0, 45 each. The published example is a test.
#pragma once

#include <cstdint>
#include <span>

#include "sim/placement/expert_placement.hpp"

namespace moesim {

struct EplbSizes {
  PlacementSizes placement;
  int groups = 1;
  int nodes = 1;  // of equal numbers of neighbouring devices
};
// Whether groups divide the experts and nodes divide groups and devices; where they do not, EPLB packs globally.
[[nodiscard]] bool divides_into_nodes(const EplbSizes& sizes);

// Every slot is filled.
[[nodiscard]] ExpertPlacement eplb_placement(std::span<const double> loads, const EplbSizes& sizes);

}  // namespace moesim
