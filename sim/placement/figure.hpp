// The time of an iteration over a replay, a line per policy and the oracle's below them, as SVG.
#pragma once

#include <span>
#include <string>

#include "sim/placement/replay.hpp"

namespace moesim {

// Steps that made an iteration wait for a switch carry a mark. Where there are more steps than pixels neighbours are averaged.
[[nodiscard]] std::string replay_figure(const std::string& title, const ReplayTrace& trace,
                                        std::span<const PolicyReplay> policies, const ReplayBounds& bounds);

}  // namespace moesim
