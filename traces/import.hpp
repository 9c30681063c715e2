// Reading a trace of any known format: the content decides which importer reads it, rows are pushed into a sink as they
// are parsed, and what looked wrong comes back as findings.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "traces/findings.hpp"
#include "traces/rows.hpp"
#include "traces/selection_trace.hpp"
#include "traces/trace_info.hpp"

namespace moesim {

struct ImportOptions {
  std::uint64_t memory_limit_bytes = 4ULL << 30;  // of counts held at once
  std::string format;      // name of the only importer to be tried; empty: as the content decides
  std::int64_t top_k = 0;  // overrides what the input says; 0: as the input says
  // Per-token recordings of sequences (ESFT) name no rank: sequence i is given to source rank i mod this.
  std::int32_t sequence_ranks = 8;
  // Nor do they name iterations: so many sequences, in their order, are one; 0: all of them are.
  std::int32_t sequences_per_iteration = 0;
  // Megatron's recording is by receiving rank: how many ranks share one copy of all experts; 0: all that were recorded.
  std::int32_t expert_parallel = 0;
  bool operator==(const ImportOptions&) const = default;
};

struct ImportReport {
  TraceInfo info;
  Findings findings;
  std::uint64_t rows = 0;  // rows of counts
  int experts = 0;
};

// `path` is a file, a folder, "-" or "bundled:NAME" (bundled.hpp). Count rows go to `sink` in the order of the input; token rows too if the format has
// them and `tokens` is given (they are counted either way).
[[nodiscard]] Result<ImportReport> import_trace(const std::string& path, const ImportOptions& options, RowSink& sink,
                                                RowSink* tokens = nullptr);

// The same for bytes in memory, with no side file; `name` stands for the path.
[[nodiscard]] Result<ImportReport> import_trace_bytes(std::string_view content, const std::string& name,
                                                      const ImportOptions& options, RowSink& sink,
                                                      RowSink* tokens = nullptr);

struct LoadedTrace {
  SelectionTrace trace;
  Findings findings;
};
// The whole trace in memory; `tokens` as for import_trace().
[[nodiscard]] Result<LoadedTrace> load_trace(const std::string& path, const ImportOptions& options = {},
                                             RowSink* tokens = nullptr);

}  // namespace moesim
