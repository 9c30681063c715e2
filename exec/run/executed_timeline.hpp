// The last step of a training as a timeline for Perfetto or chrome://tracing, in the form of the simulator's
// (sim/simulate/timeline.hpp): a process per rank, a track per stream, arrows between stages. Times count from the moment at
// which the ranks met before the step. Communication lasts from its start on this rank, waiting for the others included.
//
// Counters of a rank: "memory", the bytes of its pool that are in use after each operation, and "memory, predicted": the states
// and what the memory walk says that each call holds at its most, at the start of the call. With the step as predicted, its ranks
// are processes of their own, with the same tracks, before those that were executed; there the walk's bytes are "memory".
#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "exec/run/training.hpp"
#include "sim/engine/replay.hpp"
#include "sim/memory/memory_walk.hpp"

namespace moesim {

struct ExecutedTimeline {
  const Program& program;
  const std::vector<TrainingRecord>& records;                 // by rank
  const MemoryReport* memory = nullptr;                       // of the program; null: no such counter
  std::span<const Interval> predicted;                        // entity: the rank; empty: not to be shown
  std::vector<std::pair<std::string, std::string>> metadata;  // "model" -> "..."
};

// How many slices were written to `path`; ".gz" and ".zst" at its end compress.
[[nodiscard]] Result<std::int64_t> write_executed_timeline(const ExecutedTimeline& timeline, const std::string& path);

}  // namespace moesim
