// A timeline for chrome://tracing and ui.perfetto.dev: Trace Event Format JSON, written as a stream.
//
// One process per entity, one thread per stream, a slice ("X") per operation that takes time, an instant ("i") per
// operation that takes none, flow arrows from sends to receives, counter tracks given by the caller. Times are
// microseconds with six digits, which are whole picoseconds: what does not overlap in the replay does not overlap in the
// file. Order and number format are fixed, so equal replays give equal bytes.
//
// The file is published when it is complete (base/file.hpp); ".gz" and ".zst" at the end of its name compress it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "sim/engine/replay.hpp"

namespace moesim {

// What is written about one operation. Fields below zero and empty texts are left out.
struct SliceLabel {
  std::string_view name{};      // "expert gemm"
  std::string_view category{};  // "compute"
  std::string_view group{};     // "ep0 {0-7}"
  std::int32_t layer = -1;
  std::int64_t bytes = -1;
  double flop = -1;
};

struct CounterPoint {
  Picoseconds time = 0;
  double value = 0;  // finite
};
struct CounterSeries {
  std::uint32_t entity = 0;
  std::string name;  // "memory"
  std::string unit;  // "GiB"
  std::vector<CounterPoint> points;
};

struct ChromeTrace {
  const ReplayProgram* program = nullptr;
  const ReplayResult* result = nullptr;  // with intervals
  // "stage 3 (ranks 24-31)"
  std::function<std::string(std::uint32_t entity)> entity_name;
  // The texts must stay valid until the next call.
  std::function<SliceLabel(std::uint32_t entity, std::uint32_t block, std::uint32_t op)> label;
  std::vector<std::uint32_t> entities;  // to be written; empty: all
  std::vector<CounterSeries> counters;
  std::vector<std::pair<std::string, std::string>> metadata;  // "model" -> "..."
};

[[nodiscard]] Status write_chrome_trace(const ChromeTrace& trace, const std::string& path);

}  // namespace moesim
