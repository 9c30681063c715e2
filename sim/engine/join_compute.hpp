// A replay with fewer events: computation that no communication interrupts is played as one operation.
//
// A run is joined where nothing else waits for its inside and its inside waits for nothing else, so every remaining
// operation starts and ends when it did; contention slows a run as it slows its parts, to within the rounding of
// picoseconds. Two to three times fewer events for a transformer layer. Intervals of the parts are not to be had, so a
// replay that records them is not joined.
#pragma once

#include "sim/engine/replay.hpp"

namespace moesim {

struct JoinedProgram {
  // A run of operations of a block, joined to the first of them. Its category is its own within every entity that calls
  // the block.
  struct Run {
    std::uint32_t block = 0;
    std::uint32_t op = 0;          // in the joined block
    std::uint32_t first_part = 0;  // into parts
    std::uint32_t parts = 0;
    std::uint16_t category = 0;
  };
  struct Part {
    std::uint32_t duration = 0;  // as in the ReplayOp it was
    std::uint16_t category = 0;
  };
  ReplayProgram program;
  std::vector<Run> runs;  // in the order of their blocks
  std::vector<Part> parts;
  std::vector<std::vector<std::uint32_t>> runs_of_entity;  // by entity, into runs
  std::uint16_t first_category = 0;                        // of runs
};
[[nodiscard]] JoinedProgram join_compute(const ReplayProgram& program);

// As replay(), by way of the joined program unless intervals are asked for; statistics are those of the parts, the time of
// a run shared out as their durations are.
[[nodiscard]] ReplayResult replay_joined(const ReplayProgram& program, const ReplayOptions& options);

}  // namespace moesim
