// Whether a ReplayProgram keeps to its own rules: every index in range, dependencies that point backwards, groups with
// as many members as they say, channels whose ends name each other. A program comes from our own lowering, so a fault is
// a bug there. replay() relies on the indices and does not look; groups and channels that do not match end in its report
// of what waits. Call this wherever programs are made: it costs as much as reading the program once per call.
#pragma once

#include <optional>
#include <string>

#include "sim/engine/replay_program.hpp"

namespace moesim {

// The first fault: "block 2 op 5: dependency 7 does not come before it".
[[nodiscard]] std::optional<std::string> replay_program_fault(const ReplayProgram& program);

// Asserts that there is none.
void check_replay_program(const ReplayProgram& program);

}  // namespace moesim
