// What the trace commands do, as data: a program only parses options and formats the results.
#pragma once

#include <string>

#include "base/error.hpp"
#include "traces/findings.hpp"
#include "traces/import.hpp"
#include "traces/statistics.hpp"
#include "traces/synthesize.hpp"
#include "traces/trace_info.hpp"
#include "traces/writer.hpp"

namespace moesim {

// trace info: one pass in bounded memory.
struct TraceDescription {
  std::string path;
  TraceInfo info;
  Findings findings;
  TraceStatistics statistics;
  // The exit code of a command that shows this: kInvalidInput's when a finding is an error, else 0.
  [[nodiscard]] int exit_code() const;
};
[[nodiscard]] Result<TraceDescription> describe_trace(const std::string& path, const ImportOptions& import = {},
                                                      const StatisticsOptions& statistics = {});

// trace convert: rows in the order of the input, in bounded memory.
struct ConversionReport {
  TraceInfo info;
  Findings findings;
  std::uint64_t rows = 0;  // rows of counts that were read
};
[[nodiscard]] Result<ConversionReport> convert_trace(const std::string& from, const std::string& to, TraceRows rows,
                                                     const ImportOptions& import = {});

// trace synth: writes `to` and its side file.
[[nodiscard]] Result<TraceInfo> synthesize_file(const SynthesisRequest& request, const std::string& to,
                                                const SynthesisRun& run = {});

}  // namespace moesim
