// What a placement policy decides for one MoE layer, and how token copies then find a copy of their expert.
//
// Shadowed experts (FasterMoE, PPoPP'22, section 4.2) keep their slots, but in each micro-batch their weights are broadcast,
// every device computes its own tokens for them, and their gradients are reduced to where they stand.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/placement/expert_placement.hpp"

namespace moesim {

// Which of several copies of an expert a token goes to.
enum class TokenSplit : std::uint8_t {
  kEven,      // all copies alike, as EPLB plans for
  kLocality,  // one on its own device, else those on its own node alike, else all alike (LAER-MoE's routing rule)
  kMinMax,  // so that the busiest device has as little as the copies allow, by what the gate chose in this very micro-batch
};

struct PlacementDecision {
  ExpertPlacement placement;
  std::vector<std::int32_t> shadowed;  // experts, ascending
  TokenSplit split = TokenSplit::kLocality;
  bool operator==(const PlacementDecision&) const = default;
};

}  // namespace moesim
