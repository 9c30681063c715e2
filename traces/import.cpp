#include "traces/import.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "base/file.hpp"
#include "base/text.hpp"
#include "traces/bundled.hpp"
#include "traces/formats/format.hpp"
#include "traces/inspector.hpp"
#include "traces/token_counter.hpp"

namespace moesim {
namespace {

constexpr std::size_t kHeadBytes = 64 << 10;
constexpr std::uint64_t kLargestSideFile = 1 << 20;
constexpr std::size_t kMostFiles = 1'000'000;

Result<InputProbe> probe_folder(const std::string& path) {
  InputProbe probe{path, true, {}, {}};
  std::error_code problem;
  for (std::filesystem::directory_iterator it(path, problem), end; !problem && it != end; it.increment(problem)) {
    probe.files.push_back(it->path().filename().string());
    if (probe.files.size() > kMostFiles) return invalid_input("folder has more than a million files", path);
  }
  if (problem) return invalid_input(fmt::format("cannot list the folder: {}", problem.message()), path);
  if (probe.files.empty()) return invalid_input("folder is empty", path);
  std::sort(probe.files.begin(), probe.files.end());
  return probe;
}

// FILE.json, and for FILE = x.csv.zst also x.csv.json.
Status read_side_file(const std::string& path, TraceInfo& info) {
  if (path == "-") return {};
  std::string stem = path;
  while (stem.size() > 1 && stem.ends_with('/')) stem.pop_back();
  std::vector<std::string> candidates{stem + ".json"};
  for (const std::string_view suffix : {".zst", ".gz"})
    if (stem.ends_with(suffix)) candidates.push_back(stem.substr(0, stem.size() - suffix.size()) + ".json");
  for (const std::string& candidate : candidates) {
    std::error_code problem;
    if (!std::filesystem::is_regular_file(candidate, problem)) continue;
    MOESIM_ASSIGN(const std::string text, read_text_file(candidate, kLargestSideFile));
    return merge_side_file(text, candidate, info);
  }
  return {};
}

void note_what_is_open(ImportReport& report, const TraceInspector& inspector) {
  TraceInfo& info = report.info;
  const std::uint64_t sum = inspector.common_row_sum();
  if (info.top_k > 0 && info.tokens_per_rank_per_microbatch == 0 && inspector.per_rank() && sum > 0 &&
      sum % static_cast<std::uint64_t>(info.top_k) == 0)
    info.tokens_per_rank_per_microbatch = static_cast<std::int64_t>(sum) / info.top_k;
  if (info.top_k == 0)
    report.findings.add(Severity::kNotice, "top-k-unknown",
                        "the trace does not say how many experts a token chooses; give top_k in the side file");
  if (info.top_k > inspector.experts())
    report.findings.add(Severity::kError, "top-k-above-experts",
                        fmt::format("top_k is {} but there are only {} experts", info.top_k, inspector.experts()));
  if (info.model_experts > 0 && info.model_experts != inspector.experts())
    report.findings.add(Severity::kError, "experts-differ",
                        fmt::format("the side file says {} experts, the rows have {}: physical copies instead of "
                                    "logical experts?",
                                    info.model_experts, inspector.experts()));
  if (info.phase == TracePhase::kUnknown)
    report.findings.add(Severity::kInfo, "phase-unknown",
                        "training or inference is not said; give phase in the side file");
  if (info.phase == TracePhase::kInference)
    report.findings.add(Severity::kNotice, "inference",
                        "recorded during inference: training batches and an unfinished gate may look different");
}

Result<const TraceFormat*> format_of(const InputProbe& probe, const std::string& wanted) {
  const auto formats = trace_formats();
  if (wanted.empty()) {
    for (const TraceFormat* format : formats)
      if (format->recognises(probe)) return format;
    return tl::unexpected(explain_unreadable(probe));
  }
  std::vector<std::string> names;
  for (const TraceFormat* format : formats) {
    names.emplace_back(format->name);
    if (format->name != wanted) continue;
    if (format->recognises(probe)) return format;
    return invalid_input(fmt::format("does not look like {}", wanted), probe.path,
                         fmt::format("{}; docs/traces.md has an example", format->what));
  }
  return usage_error(fmt::format("unknown trace format '{}'{}", wanted, did_you_mean(wanted, names)),
                     fmt::format("one of {}", fmt::join(names, ", ")));
}

// `stream` is null for a folder.
Result<ImportReport> run_import(InputProbe probe, InputStream* stream, TraceInfo info, const ImportOptions& options,
                                RowSink& sink, RowSink* tokens) {
  if (options.sequence_ranks < 1 || options.sequences_per_iteration < 0 || options.expert_parallel < 0 ||
      options.top_k < 0)
    return usage_error("ranks, expert parallelism and top_k of an import cannot be negative");
  ImportReport report;
  report.info = std::move(info);
  if (options.top_k > 0) report.info.top_k = options.top_k;
  if (stream != nullptr) {
    MOESIM_ASSIGN(const std::string_view head, stream->peek(kHeadBytes));
    if (head.empty()) return invalid_input("file is empty", probe.path);
    probe.head = head;
  }
  MOESIM_ASSIGN(const TraceFormat* const format, format_of(probe, options.format));
  report.info.format = format->name;

  TraceInspector inspector(report.info, report.findings, sink);
  TokenCounter counter(report.info, report.findings, inspector, tokens, options.memory_limit_bytes);
  ImportJob job{probe, stream, options, counter, report.info, report.findings};
  MOESIM_TRY(format->read(job));
  MOESIM_TRY(counter.finish());
  MOESIM_TRY(inspector.finish(probe.path));
  report.rows = inspector.rows();
  report.experts = inspector.experts();
  note_what_is_open(report, inspector);
  return report;
}

}  // namespace

Result<ImportReport> import_trace(const std::string& path, const ImportOptions& options, RowSink& sink,
                                  RowSink* tokens) {
  TraceInfo info;
  if (path.starts_with(kBundledPrefix)) {
    MOESIM_ASSIGN(const BundledTrace bundled, find_bundled_trace(path.substr(kBundledPrefix.size())));
    MOESIM_TRY(merge_side_file(bundled.side_file, path, info));
    MOESIM_ASSIGN(auto source, decompressed(make_memory_source(bundled.counts), path));
    InputStream stream(std::move(source), path);
    return run_import({path, false, {}, {}}, &stream, std::move(info), options, sink, tokens);
  }
  MOESIM_TRY(read_side_file(path, info));
  std::error_code ignored;
  if (path != "-" && std::filesystem::is_directory(path, ignored)) {
    MOESIM_ASSIGN(InputProbe probe, probe_folder(path));
    return run_import(std::move(probe), nullptr, std::move(info), options, sink, tokens);
  }
  MOESIM_ASSIGN(InputStream stream, InputStream::open(path));
  return run_import({path, false, {}, {}}, &stream, std::move(info), options, sink, tokens);
}

Result<ImportReport> import_trace_bytes(std::string_view content, const std::string& name, const ImportOptions& options,
                                        RowSink& sink, RowSink* tokens) {
  MOESIM_ASSIGN(auto source, decompressed(make_memory_source(content), name));
  InputStream stream(std::move(source), name);
  return run_import({name, false, {}, {}}, &stream, {}, options, sink, tokens);
}

Result<LoadedTrace> load_trace(const std::string& path, const ImportOptions& options, RowSink* tokens) {
  TraceBuilder builder(options.memory_limit_bytes);
  MOESIM_ASSIGN(ImportReport report, import_trace(path, options, builder, tokens));
  Findings findings = std::move(report.findings);
  MOESIM_ASSIGN(SelectionTrace trace, std::move(builder).finish(std::move(report.info), findings));
  return LoadedTrace{std::move(trace), std::move(findings)};
}

}  // namespace moesim
