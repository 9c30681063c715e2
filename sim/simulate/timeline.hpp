// A simulated step as a timeline for Perfetto or chrome://tracing: a process per entity, a track per stream, arrows between
// stages, and per entity the counters "memory" (states and activations, at every call) and "expert rows" (token copies that
// reach its representative in the layer and micro-batch being dispatched).
//
// Needs a step that was replayed with record_intervals.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "sim/simulate/step.hpp"

namespace moesim {

struct TimelineRequest {
  std::string path;                                           // ".gz" and ".zst" compress
  std::vector<std::pair<std::string, std::string>> metadata;  // "model" -> "..."
};

struct TimelineSummary {
  std::int64_t slices = 0;
  std::int64_t tracks = 0;  // processes
};

[[nodiscard]] Result<TimelineSummary> write_timeline(const SimulatedStep& step, const TimelineRequest& request);

// "stage 3, ranks 24, 25, .. (8)": who an entity stands for.
[[nodiscard]] std::string entity_text(const SimulatedStep& step, std::uint32_t entity);

}  // namespace moesim
