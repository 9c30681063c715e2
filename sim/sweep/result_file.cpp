#include "sim/sweep/result_file.hpp"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/file.hpp"
#include "sim/report/json_printer.hpp"
#include "sim/sweep/sqlite_file.hpp"

namespace moesim {
namespace {

constexpr std::array<std::pair<std::string_view, ResultFormat>, 5> kSuffixes = {{{".csv", ResultFormat::kCsv},
                                                                                 {".json", ResultFormat::kJson},
                                                                                 {".jsonl", ResultFormat::kJsonLines},
                                                                                 {".db", ResultFormat::kSqlite},
                                                                                 {".sqlite", ResultFormat::kSqlite}}};

std::string csv_head() {
  std::string line;
  for (const MetricColumn& column : sweep_columns()) line += (line.empty() ? "" : ",") + column.key;
  return line + "\n";
}

std::string csv_line(const SweepRow& row) {
  std::string line;
  for (std::size_t i = 0; i < row.size(); ++i) line += (i == 0 ? "" : ",") + csv_field(row[i]);
  return line + "\n";
}

std::string json_head(const ResultHead& head) {
  nlohmann::ordered_json json;
  json["schema_version"] = kReportSchemaVersion;
  json["tool"] = {{"name", head.tool.name}, {"version", head.tool.version}, {"revision", head.tool.revision}};
  json["sweep"] = nlohmann::ordered_json::parse(head.sweep);
  std::string text = json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  text.pop_back();  // the object goes on
  return text + ",\"rows\":[";
}

Status write_text(const std::string& path, ResultFormat format, const ResultHead& head, const ResultRows& rows) {
  MOESIM_ASSIGN(AtomicFile file, AtomicFile::create(path));
  if (format == ResultFormat::kCsv) MOESIM_TRY(file.write(csv_head()));
  if (format == ResultFormat::kJson) MOESIM_TRY(file.write(json_head(head)));
  for (std::int64_t i = 0; i < rows.count; ++i) {
    MOESIM_ASSIGN(const SweepRow row, rows.row(i));
    switch (format) {
      case ResultFormat::kCsv: MOESIM_TRY(file.write(csv_line(row))); break;
      case ResultFormat::kJson: MOESIM_TRY(file.write((i == 0 ? "\n" : ",\n") + row_to_json(row))); break;
      case ResultFormat::kJsonLines: MOESIM_TRY(file.write(row_to_json(row) + "\n")); break;
      case ResultFormat::kSqlite: MOESIM_ASSERT(format != ResultFormat::kSqlite); break;
    }
  }
  if (format == ResultFormat::kJson) MOESIM_TRY(file.write("\n]}\n"));
  return file.commit();
}

}  // namespace

Result<ResultFormat> result_format(const std::string& path) {
  for (const auto& [suffix, format] : kSuffixes)
    if (path.size() > suffix.size() && path.ends_with(suffix)) return format;
  return usage_error(fmt::format("the suffix of '{}' names no format of a sweep's result", path),
                     "write to a file named .csv, .json, .jsonl, .db or .sqlite");
}

Status write_result(const std::string& path, ResultFormat format, const ResultHead& head, const ResultRows& rows) {
  return format == ResultFormat::kSqlite ? write_sqlite(path, rows) : write_text(path, format, head, rows);
}

}  // namespace moesim
