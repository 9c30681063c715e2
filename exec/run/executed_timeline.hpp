// The last step of a training as a timeline for Perfetto or chrome://tracing, in the form of the simulator's
// (sim/simulate/timeline.hpp): a process per rank, a track per stream, arrows between stages. Times count from the moment at
// which the ranks met before the step. Communication lasts from its start on this rank, waiting for the others included.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "exec/run/training.hpp"

namespace moesim {

struct ExecutedTimeline {
  const Program& program;
  const std::vector<TrainingRecord>& records;                 // by rank
  std::vector<std::pair<std::string, std::string>> metadata;  // "model" -> "..."
};

// How many slices were written to `path`; ".gz" and ".zst" at its end compress.
[[nodiscard]] Result<std::int64_t> write_executed_timeline(const ExecutedTimeline& timeline, const std::string& path);

}  // namespace moesim
