#include "sim/cli/validation_files.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <optional>
#include <string_view>
#include <utility>

#include "base/csv.hpp"
#include "calibration/validation_rows.hpp"

namespace moesim {
namespace {

constexpr std::array<std::string_view, 5> kTrainingColumns = {"id", "model", "gbs", "step_time_s", "rank_group"};

bool is_training_file(const CsvReader& reader) {
  return std::all_of(kTrainingColumns.begin(), kTrainingColumns.end(),
                     [&](std::string_view column) { return reader.has_column(column); });
}

// The first measured figure of a training row: what a prediction would be compared with.
struct TrainingMetric {
  std::string_view column;
  Better better;
};
constexpr std::array<TrainingMetric, 4> kTrainingMetrics = {{{"step_time_s", Better::kLower},
                                                             {"tokens_per_s_per_gpu", Better::kHigher},
                                                             {"tflops_per_gpu", Better::kHigher},
                                                             {"peak_mem_gib", Better::kLower}}};

Result<ComparedRow> training_row(const CsvReader& reader) {
  ComparedRow row;
  row.id = reader.text("id");
  row.quality = reader.text("quality");
  row.hardware = reader.text("hardware");
  row.rank_group = reader.text("rank_group");
  row.skipped = "training steps are not predicted by this version";
  for (const TrainingMetric& metric : kTrainingMetrics) {
    MOESIM_ASSIGN(const std::optional<double> measured, reader.number(metric.column));
    if (!measured) continue;
    row.metric = metric.column;
    row.better = metric.better;
    row.measured = *measured;
    return row;
  }
  row.skipped = "nothing measured";
  return row;
}

Result<std::vector<ComparedRow>> compare_training(CsvReader reader) {
  std::vector<ComparedRow> rows;
  while (true) {
    MOESIM_ASSIGN(const bool more, reader.next());
    if (!more) return rows;
    MOESIM_ASSIGN(ComparedRow row, training_row(reader));
    rows.push_back(std::move(row));
  }
}

Result<std::vector<ComparedRow>> compare_measurements(const std::string& path) {
  MOESIM_ASSIGN(std::vector<ValidationRow> rows, validate_measurements(path));
  std::vector<ComparedRow> compared;
  std::transform(std::make_move_iterator(rows.begin()), std::make_move_iterator(rows.end()), std::back_inserter(compared),
                 [](ValidationRow row) {
                   return ComparedRow{.id = std::move(row.id),
                                      .law = std::move(row.law),
                                      .metric = std::move(row.metric),
                                      .skipped = std::move(row.skipped),
                                      .predicted = row.predicted,
                                      .measured = row.measured,
                                      .better = Better::kLower,  // kernels and collectives are compared by time
                                      .quality = std::move(row.quality),
                                      .hardware = std::move(row.hardware),
                                      .rank_group = {}};
                 });
  return compared;
}

}  // namespace

Result<std::vector<ComparedRow>> compare_file(const std::string& path) {
  MOESIM_ASSIGN(const bool measurements, is_measurement_file(path));
  if (measurements) return compare_measurements(path);
  MOESIM_ASSIGN(CsvReader reader, CsvReader::open(path));
  if (is_training_file(reader)) return compare_training(std::move(reader));
  return invalid_input("the columns are of no known kind of measurements", path,
                       "known are training throughput, collectives, GEMM and MoE-layer files (docs/json.md, validate)");
}

}  // namespace moesim
