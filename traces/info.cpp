#include "traces/info.hpp"

namespace moesim {

int TraceDescription::exit_code() const {
  return findings.worst() == Severity::kError ? static_cast<int>(ErrorKind::kInvalidInput) : 0;
}

Result<TraceDescription> describe_trace(const std::string& path, const ImportOptions& import,
                                        const StatisticsOptions& statistics) {
  StatisticsSink sink(statistics);
  MOESIM_ASSIGN(ImportReport report, import_trace(path, import, sink));
  TraceDescription description{path, std::move(report.info), std::move(report.findings), {}};
  description.statistics = std::move(sink).finish(description.findings);
  return description;
}

Result<ConversionReport> convert_trace(const std::string& from, const std::string& to, TraceRows rows,
                                       const ImportOptions& import) {
  MOESIM_ASSIGN(const auto writer, TraceWriter::create(to, rows));
  MOESIM_ASSIGN(ImportReport report,
                import_trace(from, import, *writer, rows == TraceRows::kTokens ? writer.get() : nullptr));
  if (report.info.model_experts == 0) report.info.model_experts = report.experts;
  MOESIM_TRY(writer->commit(report.info));
  return ConversionReport{std::move(report.info), std::move(report.findings), report.rows};
}

Result<TraceInfo> synthesize_file(const SynthesisRequest& request, const std::string& to, const SynthesisRun& run) {
  MOESIM_TRY(check_synthesis(request));
  MOESIM_ASSIGN(const auto writer, TraceWriter::create(to, TraceRows::kCounts));
  MOESIM_TRY(synthesize(request, *writer, run));
  TraceInfo info = describe_synthesis(request);
  MOESIM_TRY(writer->commit(info));
  return info;
}

}  // namespace moesim
