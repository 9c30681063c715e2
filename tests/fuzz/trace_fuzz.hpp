// Shared by the trace fuzzers: one input through the importer, the statistics and the builder, with little memory.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "traces/import.hpp"
#include "traces/remap.hpp"
#include "traces/statistics.hpp"

namespace moesim {

inline void fuzz_trace(const std::uint8_t* data, std::size_t size, const std::string& name) {
  const std::string_view content(reinterpret_cast<const char*>(data), size);
  ImportOptions options;
  options.memory_limit_bytes = 16 << 20;
  options.expert_parallel = 1;
  StatisticsSink statistics;
  if (auto report = import_trace_bytes(content, name, options, statistics))
    static_cast<void>(std::move(statistics).finish(report->findings));
  TraceBuilder builder(options.memory_limit_bytes);
  auto report = import_trace_bytes(content, name, options, builder);
  if (!report) return;
  auto trace = std::move(builder).finish(report->info, report->findings);
  if (trace) static_cast<void>(map_loads(*trace, {3, trace->experts(), 1, 7, 3, 2, -1}));
}

}  // namespace moesim
