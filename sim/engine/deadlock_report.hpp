// Why a replay stopped before its end: the operation before each unfinished stream, and what it waits for.
#pragma once

#include <vector>

#include "sim/engine/compiled_program.hpp"
#include "sim/engine/replay.hpp"
#include "sim/engine/replay_state.hpp"

namespace moesim {

// By entity and stream; empty when every stream is done.
[[nodiscard]] std::vector<WaitingOp> waiting_operations(const ReplayProgram& program, const CompiledProgram& compiled,
                                                        const ReplayState& state);

}  // namespace moesim
