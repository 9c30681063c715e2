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
  for (const MetricColumn& column : sweep_columns()) line.append(line.empty() ? "" : ",").append(column.key);
  return line.append("\n");
}

std::string csv_line(const SweepRow& row) {
  std::string line;
  for (std::size_t i = 0; i < row.size(); ++i) line.append(i == 0 ? "" : ",").append(csv_field(row[i]));
  return line.append("\n");
}

std::string json_head(const ResultHead& head) {
  nlohmann::ordered_json json;
  json["schema_version"] = kReportSchemaVersion;
  json["tool"] = {{"name", head.tool.name}, {"version", head.tool.version}, {"revision", head.tool.revision}};
  json["sweep"] = nlohmann::ordered_json::parse(head.sweep);
  std::string text = json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  text.pop_back();  // the object goes on
  return text.append(",\"rows\":[");
}

std::string opening(ResultFormat format, const ResultHead& head) {
  if (format == ResultFormat::kCsv) return csv_head();
  return format == ResultFormat::kJson ? json_head(head) : std::string();
}

Status write_text(const std::string& path, ResultFormat format, const ResultHead& head, const ResultRows& rows) {
  MOESIM_ASSIGN(AtomicFile file, AtomicFile::create(path));
  MOESIM_TRY(file.write(opening(format, head)));
  for (std::int64_t i = 0; i < rows.count; ++i) {
    MOESIM_ASSIGN(const SweepRow row, rows.row(i));
    if (format == ResultFormat::kJson) {
      MOESIM_TRY(file.write(i == 0 ? "\n" : ",\n"));
      MOESIM_TRY(file.write(row_to_json(row)));
    } else {
      MOESIM_TRY(file.write(format == ResultFormat::kCsv ? csv_line(row) : row_to_json(row).append("\n")));
    }
  }
  MOESIM_TRY(file.write(format == ResultFormat::kJson ? "\n]}\n" : ""));
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
