#include "calibration/validation_rows.hpp"

#include <cmath>
#include <map>
#include <memory>
#include <utility>

#include "calibration/fit.hpp"
#include "calibration/measurement.hpp"
#include "calibration/profile.hpp"

namespace moesim {

Result<bool> is_measurement_file(const std::string& path) {
  MOESIM_ASSIGN(const CsvReader reader, CsvReader::open(path));
  return measurement_format(reader) != MeasurementFormat::kUnknown;
}

Result<std::vector<ValidationRow>> validate_measurements(const std::string& path, std::span<const Profile> profiles) {
  MOESIM_ASSIGN(const std::vector<Measurement> measurements, read_measurements(path));
  std::map<const ClusterView*, std::unique_ptr<CostModel>> models;
  std::vector<ValidationRow> rows;
  for (const Measurement& measurement : measurements) {
    ValidationRow row{.id = measurement.id,
                      .law = measurement.law,
                      .metric = measurement.metric,
                      .measured = measurement.measured,
                      .skipped = measurement.skipped,
                      .quality = measurement.quality,
                      .hardware = measurement.hardware,
                      .source = measurement.source};
    if (row.skipped.empty()) {
      std::unique_ptr<CostModel>& model = models[measurement.view.get()];
      if (!model) model = std::make_unique<CostModel>(make_cost_model(*measurement.view, profiles));
      row.predicted = measurement.predict(*model);
      row.relative_error = row.predicted / row.measured - 1;
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

ErrorSummary summarize_errors(const std::vector<ValidationRow>& rows) {
  ErrorSummary summary;
  std::vector<double> signed_errors;
  std::vector<double> sizes;
  for (const ValidationRow& row : rows) {
    if (!row.skipped.empty()) {
      ++summary.skipped;
      continue;
    }
    signed_errors.push_back(row.relative_error);
    sizes.push_back(std::abs(row.relative_error));
  }
  summary.rows = static_cast<int>(sizes.size());
  summary.median = quantile(sizes, 0.5);
  summary.p90 = quantile(sizes, 0.9);
  summary.bias = quantile(signed_errors, 0.5);
  return summary;
}

}  // namespace moesim
