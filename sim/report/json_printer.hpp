// A report for machines: JSON with a stable order of keys, JSON lines, CSV. Numbers in base SI units; NaN and infinity,
// which JSON lacks, are null. Text that is not UTF-8 (a file name can be anything) has U+FFFD in place of broken bytes.
//
// JSON: {"schema_version": 1, "tool": {name, version, revision}, "inputs": [{role, source, bytes, sha256}], <sections>,
// "notes": [..]}; docs/json.md lists the sections of each command.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "base/error.hpp"
#include "sim/report/report.hpp"

namespace moesim {

[[nodiscard]] nlohmann::ordered_json to_json(const MetricValue& value);
[[nodiscard]] std::string csv_field(const MetricValue& value);  // quoted where needed; empty for NaN and infinity
[[nodiscard]] nlohmann::ordered_json to_json(const Report& report);
[[nodiscard]] std::string to_json_text(const Report& report);
// One line per row of the primary section.
[[nodiscard]] std::string to_json_lines(const Report& report);
// The primary section: a header of keys, then rows; fields quoted where RFC 4180 wants it.
[[nodiscard]] std::string to_csv(const Report& report);

// {"schema_version": 1, "error": {"code": "invalid_input", "exit_code": 3, "message", "where", "hint"}}
[[nodiscard]] std::string error_json_text(const Error& error);
[[nodiscard]] const char* error_code_name(ErrorKind kind);  // "invalid_input"

}  // namespace moesim
