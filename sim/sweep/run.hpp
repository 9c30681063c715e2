// Runs a sweep: hands out the points that the journal does not have, keeps rows as they come, and writes the result in the
// order of the points at the end. Its bytes depend on the sweep alone: not on threads, processes or interruptions.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "base/error.hpp"
#include "base/stop_token.hpp"
#include "base/units.hpp"
#include "sim/report/progress.hpp"
#include "sim/report/report.hpp"
#include "sim/sweep/journal.hpp"
#include "sim/sweep/spec.hpp"
#include "sim/sweep/transport.hpp"

namespace moesim {

struct SweepOptions {
  std::string output;  // the result; its suffix names the form (result_file.hpp)
  JournalStart start = JournalStart::kResume;
  int jobs = 1;  // threads of this process that evaluate points
  ToolVersion tool;
  StopToken stop;
  ProgressSink* progress = nullptr;  // may be null
  // Since any fixed moment; for putting rows on the disk once a second. Empty: every 64 rows only.
  std::function<Seconds()> clock;
};

struct SweepSummary {
  std::int64_t points = 0;
  std::int64_t resumed = 0;  // of them from the journal
  std::int64_t ok = 0;
  std::int64_t fits = 0;  // of those that are ok
  std::int64_t invalid = 0;
  std::int64_t failed = 0;
  std::optional<SweepRow> best;  // most tokens per second and GPU of those that fit; the first of several
};

// "out.csv" -> "out.csv.journal.jsonl"
[[nodiscard]] std::string journal_path(const std::string& output);

// Of rank 0. kInterrupted when asked to stop: the journal has what was finished, the same call goes on from there.
[[nodiscard]] Result<SweepSummary> run_sweep(const SweepSpec& spec, const SweepOptions& options,
                                             SweepTransport& transport);

// Of every other rank, until rank 0 says stop. An error, also one that `spec` brings along, is told to rank 0, which ends
// the sweep with it.
[[nodiscard]] Status work_for_sweep(const Result<SweepSpec>& spec, int jobs, StopToken stop, SweepTransport& transport);

// By rank 0, once, whatever came out: the other ranks stop.
void dismiss_workers(SweepTransport& transport);

}  // namespace moesim
