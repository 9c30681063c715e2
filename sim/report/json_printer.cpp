#include "sim/report/json_printer.hpp"

#include <cmath>
#include <string_view>

#include "base/text.hpp"

namespace moesim {
namespace {

using Json = nlohmann::ordered_json;

struct ToJson {
  Json operator()(std::monostate) const { return nullptr; }
  Json operator()(bool value) const { return value; }
  Json operator()(std::int64_t value) const { return value; }
  Json operator()(double value) const { return std::isfinite(value) ? Json(value) : Json(nullptr); }
  Json operator()(const std::string& value) const { return value; }
};

// "layout.tp" goes into the object "layout" of `object`.
void put(Json& object, std::string_view key, Json value) {
  Json* at = &object;
  const std::vector<std::string_view> steps = split(key, '.');
  for (const std::string_view step : steps) at = &(*at)[std::string(step)];
  *at = std::move(value);
}

Json row_json(const MetricTable& table, const MetricRow& row) {
  Json object = Json::object();
  for (std::size_t i = 0; i < row.values.size(); ++i)
    if (table.columns()[i].shown != MetricShown::kPeopleOnly)
      put(object, table.columns()[i].key, to_json(row.values[i]));
  return object;
}

Json section_json(const Section& section) {
  if (section.kind == SectionKind::kRecord)
    return section.table.rows().empty() ? Json(nullptr) : row_json(section.table, section.table.rows().front());
  Json rows = Json::array();
  for (const MetricRow& row : section.table.rows()) rows.push_back(row_json(section.table, row));
  return rows;
}

Json or_null(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

std::string dumped(const Json& json, int indent) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string csv_quoted(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

}  // namespace

Json to_json(const MetricValue& value) { return std::visit(ToJson{}, value); }

std::string csv_field(const MetricValue& value) {
  const double* number = std::get_if<double>(&value);
  if (number != nullptr && !std::isfinite(*number)) return {};
  return csv_quoted(plain_text(value));
}

Json to_json(const Report& report) {
  Json root = Json::object();
  root["schema_version"] = kReportSchemaVersion;
  root["tool"] = {
      {"name", report.tool.name}, {"version", report.tool.version}, {"revision", or_null(report.tool.revision)}};
  root["inputs"] = Json::array();
  for (const InputRecord& input : report.inputs)
    root["inputs"].push_back({{"role", input.role},
                              {"source", input.source},
                              {"bytes", input.bytes ? Json(*input.bytes) : Json(nullptr)},
                              {"sha256", or_null(input.sha256)}});
  for (const Section& section : report.sections)
    if (section.shown != SectionShown::kPeopleOnly) put(root, section.key, section_json(section));
  root["notes"] = report.notes;
  return root;
}

std::string to_json_text(const Report& report) { return dumped(to_json(report), 2); }

std::string to_json_lines(const Report& report) {
  std::string text;
  const Section* section = report.primary();
  if (section == nullptr) return text;
  for (const MetricRow& row : section->table.rows()) text += dumped(row_json(section->table, row), -1);
  return text;
}

std::string to_csv(const Report& report) {
  const Section* section = report.primary();
  if (section == nullptr) return {};
  const std::vector<MetricColumn>& columns = section->table.columns();
  const auto line = [&](auto&& field_of) {
    std::string text;
    for (std::size_t i = 0; i < columns.size(); ++i)
      if (columns[i].shown != MetricShown::kPeopleOnly) text += field_of(i) + ",";
    text.back() = '\n';  // for the last comma; a table has a column at least
    return text;
  };
  std::string text = line([&](std::size_t i) { return csv_quoted(columns[i].key); });
  for (const MetricRow& row : section->table.rows())
    text += line([&](std::size_t i) { return csv_field(row.values[i]); });
  return text;
}

std::string error_json_text(const Error& error) {
  Json root = Json::object();
  root["schema_version"] = kReportSchemaVersion;
  root["error"] = {{"code", error_code_name(error.kind)},
                   {"exit_code", static_cast<int>(error.kind)},
                   {"message", error.what},
                   {"where", or_null(error.where)},
                   {"hint", or_null(error.hint)}};
  return dumped(root, 2);
}

const char* error_code_name(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kInternal: return "internal";
    case ErrorKind::kUsage: return "usage";
    case ErrorKind::kInvalidInput: return "invalid_input";
    case ErrorKind::kNoFeasiblePlan: return "no_feasible_plan";
    case ErrorKind::kOutsideTolerance: return "outside_tolerance";
    case ErrorKind::kNoDevice: return "no_device";
    case ErrorKind::kInterrupted: return "interrupted";
  }
  return "internal";
}

}  // namespace moesim
