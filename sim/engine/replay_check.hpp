// Whether a ReplayProgram keeps to its own rules: every index in range, dependencies that point backwards, groups with
// as many members as they say, channels whose ends name each other. replay() relies on it. A program comes from our own
// lowering, so a fault is a bug; replay() checks in debug builds, tests check everywhere.
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
