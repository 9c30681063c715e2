// Results as tagged values: a key for machines, a title and a description for people, and a unit that says how a number
// is shown. Printers (table_printer.hpp, json_printer.hpp, ...) format what stands here and add nothing.
//
// Keys are snake_case with the unit as suffix ("step_time_s", "peak_memory_bytes"); values are in base SI units. A dot in
// a key nests it: "layout.tp" is {"layout": {"tp": 2}} in JSON and one column in a table.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace moesim {

enum class MetricUnit : std::uint8_t {
  kNone,             // words, yes/no, plain whole numbers, real numbers with four digits
  kSeconds,          // "2.31 ms"
  kBytes,            // "79.1 GiB"
  kBytesPerSecond,   // "450 GB/s"
  kFlops,            // "1.2 PFLOP"
  kFlopsPerSecond,   // "989 TFLOP/s"
  kTokensPerSecond,  // "12 345"
  kRatio,            // of one: 0.413 is "41.3 %"
  kFactor,           // "1.08x"
};

// Empty: not known or not applicable; null in JSON, "-" in a table.
using MetricValue = std::variant<std::monostate, bool, std::int64_t, double, std::string>;

enum class MetricShown : std::uint8_t {
  kEverywhere,
  kMachinesOnly,  // in JSON and CSV but not in the table for people
  kPeopleOnly,    // the other way round: text made of other columns
};

struct MetricColumn {
  std::string key;
  MetricUnit unit = MetricUnit::kNone;
  std::string title;        // of the table's column, short
  std::string description;  // one line
  MetricShown shown = MetricShown::kEverywhere;
};

enum class RowTone : std::uint8_t { kPlain, kGood, kBad, kFaint };

struct MetricRow {
  std::vector<MetricValue> values;  // one per column
  RowTone tone = RowTone::kPlain;
};

class MetricTable {
 public:
  MetricTable() = default;
  explicit MetricTable(std::vector<MetricColumn> columns) : columns_(std::move(columns)) {}

  // As many values as there are columns.
  void add_row(std::vector<MetricValue> values, RowTone tone = RowTone::kPlain);

  [[nodiscard]] const std::vector<MetricColumn>& columns() const { return columns_; }
  [[nodiscard]] const std::vector<MetricRow>& rows() const { return rows_; }

 private:
  std::vector<MetricColumn> columns_;
  std::vector<MetricRow> rows_;
};

// One fact of a record: a column and its only value.
struct Metric {
  MetricColumn column;
  MetricValue value;
};
// A table of one row.
[[nodiscard]] MetricTable record_of(std::vector<Metric> metrics);

// As a person reads it. kSeconds 0.00231 -> "2.31 ms"; empty -> "-".
[[nodiscard]] std::string display_text(const MetricValue& value, MetricUnit unit);
// As a machine reads it: shortest form that gives the same number back; empty -> "".
[[nodiscard]] std::string plain_text(const MetricValue& value);
// Numbers align right.
[[nodiscard]] bool is_number(const MetricValue& value);

}  // namespace moesim
