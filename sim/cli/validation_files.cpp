#include "sim/cli/validation_files.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "calibration/validation_rows.hpp"
#include "sim/validate/training_rows.hpp"

namespace moesim {
namespace {

Result<std::vector<ComparedRow>> compare_training(const std::string& path, std::span<const Profile> profiles) {
  MOESIM_ASSIGN(std::vector<TrainingPrediction> predictions, validate_training(path, profiles));
  std::vector<ComparedRow> rows;
  for (TrainingPrediction& prediction : predictions) {
    rows.push_back(std::move(prediction.compared));
    rows.back().assumed = fmt::format("{}", fmt::join(prediction.notes, "; "));
  }
  return rows;
}

Result<std::vector<ComparedRow>> compare_measurements(const std::string& path, std::span<const Profile> profiles) {
  MOESIM_ASSIGN(std::vector<ValidationRow> rows, validate_measurements(path, profiles));
  std::vector<ComparedRow> compared;
  std::transform(std::make_move_iterator(rows.begin()), std::make_move_iterator(rows.end()),
                 std::back_inserter(compared), [](ValidationRow row) {
                   return ComparedRow{.id = std::move(row.id),
                                      .law = std::move(row.law),
                                      .metric = std::move(row.metric),
                                      .skipped = std::move(row.skipped),
                                      .predicted = row.predicted,
                                      .measured = row.measured,
                                      .better = Better::kLower,  // kernels and collectives are compared by time
                                      .quality = std::move(row.quality),
                                      .hardware = std::move(row.hardware),
                                      .rank_group = {},
                                      .assumed = {}};
                 });
  return compared;
}

}  // namespace

Result<std::vector<ComparedRow>> compare_file(const std::string& path, std::span<const Profile> profiles) {
  MOESIM_ASSIGN(const bool measurements, is_measurement_file(path));
  if (measurements) return compare_measurements(path, profiles);
  MOESIM_ASSIGN(const bool training, is_training_file(path));
  if (training) return compare_training(path, profiles);
  return invalid_input("the columns are of no known kind of measurements", path,
                       "known are training throughput, collectives, GEMM and MoE-layer files (docs/json.md, validate)");
}

}  // namespace moesim
