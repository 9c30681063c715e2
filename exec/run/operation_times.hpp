// How long the operations of a step took, without the time in which communication only waited for the others: what a cost law
// claims to know.
//
// Computation: from start to end. A collective: from the moment when its last member began until the last one had the result, the
// same for all of them: so moeexec bench measures it, and so the engine plays it. A transfer: the same for its two ends; its sender
// may be free much earlier, when the system has taken the bytes. The k-th collective of a (group, stream) matches the k-th of every other member, the
// k-th send of a channel the k-th receive at its other end, as in the engine (sim/engine/replay_program.hpp).
// Example: ranks begin an all-gather at 3 and 5 ms and end it at 8 and 9: it took 4 ms.
#pragma once

#include <vector>

#include "exec/run/training.hpp"

namespace moesim {

struct OperationTime {
  std::int32_t call = 0;  // of the stage
  std::int32_t op = 0;    // of the call's block
  Seconds time;
  Seconds begun;  // when the last of those who meet began
};

// By rank, in the order in which the operations were issued. `ops`: of one step, by rank; all operations of the program.
[[nodiscard]] std::vector<std::vector<OperationTime>> operation_times(const Program& program,
                                                                      std::vector<std::vector<ExecutedOp>> ops);

}  // namespace moesim
