// The interface of an importer, and the one list of them. To add a format: one file with a TraceFormat, one line in
// formats.cpp.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "traces/findings.hpp"
#include "traces/import.hpp"
#include "traces/input/input_stream.hpp"
#include "traces/rows.hpp"
#include "traces/trace_info.hpp"

namespace moesim {

// What an importer may look at to recognise its format.
struct InputProbe {
  std::string path;
  bool is_folder = false;
  std::vector<std::string> files;  // names in the folder, sorted
  std::string head;                // the first 64 KiB of the file, decompressed
  [[nodiscard]] std::string_view first_line() const;
};

struct ImportJob {
  const InputProbe& probe;
  InputStream* stream;  // the file from its first byte; null for a folder
  const ImportOptions& options;
  RowSink& sink;
  TraceInfo& info;  // holds what the side file says; an importer adds what it knows and the side file leaves open
  Findings& findings;
};

struct TraceFormat {
  std::string_view name;  // for the command line and reports
  std::string_view what;  // one line for people
  bool (*recognises)(const InputProbe& probe);
  Status (*read)(ImportJob& job);
};

// In the order in which they are tried.
[[nodiscard]] std::span<const TraceFormat* const> trace_formats();

// Why no importer reads this input, and the way out: names known formats that are refused (pickles, parquet, ...).
[[nodiscard]] Error explain_unreadable(const InputProbe& probe);

}  // namespace moesim
