// The chain of operations that sets a replay's end: from the one that ends last back along the causes.
//
// Every operation starts at the very end of its cause, so the chain has no gaps: its lengths add up to the end, and only
// what lies on it can make the step shorter. Needs a replay with record_intervals.
// Worked: a (0-10) and b (0-14) start at once, c (14-19) needs both: the path is b, c.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/engine/replay.hpp"

namespace moesim {

// Indices into result.intervals, from the beginning to the end; empty when nothing was recorded.
[[nodiscard]] std::vector<std::uint32_t> critical_path(const ReplayResult& result);

}  // namespace moesim
