// On how many devices and nodes the experts of a token stand under a placement: what a dispatcher sends that gives a token once to each of
// them, whatever the number of its experts there.
// Worked, 4 experts on 2 nodes of one device, tokens {0, 1}, {0, 1}, {2, 3}: contiguous 1 node a token, {0, 2 | 1, 3} two.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/placement/decision.hpp"
#include "traces/token_sample.hpp"

namespace moesim {

struct TokenSpread {
  double devices = 0;  // of a token, mean
  double nodes = 0;
  // Standard error of `nodes` from the rows that the sample leaves out; 0 where it has all.
  double nodes_error = 0;
};

// Each expert stands once. A shadowed one is computed where the token is, which is counted nowhere; nor are dropped choices.
[[nodiscard]] TokenSpread token_spread(const TokenSet& tokens, const PlacementDecision& decision,
                                       std::span<const std::int32_t> node_of_device);

// The device that each expert stands on; -1 for shadowed ones. Each stands once.
[[nodiscard]] std::vector<std::int32_t> devices_of_experts(const PlacementDecision& decision);

}  // namespace moesim
