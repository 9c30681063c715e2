// The result of a sweep as a file: rows in the order of the points, in a form that the suffix decides.
//
//   .csv            a header of keys, then a line per row
//   .json           {"schema_version": 1, "tool": .., "sweep": .., "rows": [..]}, a line per row
//   .jsonl          a line per row
//   .db, .sqlite    SQLite 3 with one table, `results`: yes/no as 1 and 0
// The file appears whole or not at all, and the same rows give the same bytes (of one version of SQLite).
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/error.hpp"
#include "sim/report/report.hpp"
#include "sim/sweep/row.hpp"

namespace moesim {

enum class ResultFormat : std::uint8_t { kCsv, kJson, kJsonLines, kSqlite };
[[nodiscard]] Result<ResultFormat> result_format(const std::string& path);

struct ResultRows {
  std::int64_t count = 0;
  std::function<Result<SweepRow>(std::int64_t)> row;  // asked for once each, in order
};

struct ResultHead {
  ToolVersion tool;
  std::string sweep;  // SweepSpec::canonical_text
};

[[nodiscard]] Status write_result(const std::string& path, ResultFormat format, const ResultHead& head,
                                  const ResultRows& rows);

}  // namespace moesim
