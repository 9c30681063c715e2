// Prediction beside measurement for the kernel and collective validation files; what `moesim validate` prints
// for them.
//
// relative_error = predicted / measured - 1. Rows that cannot be predicted carry the reason in `skipped` and
// zeros.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "calibration/profile.hpp"

namespace moesim {

struct ValidationRow {
  std::string id;
  std::string law;
  std::string metric;
  double predicted = 0;
  double measured = 0;
  double relative_error = 0;
  std::string skipped;  // empty: predicted
  std::string quality;
  std::string hardware;
  std::string source;
};

// True for the formats that read_measurements() knows, by the header alone.
[[nodiscard]] Result<bool> is_measurement_file(const std::string& path);
[[nodiscard]] Result<std::vector<ValidationRow>> validate_measurements(const std::string& path,
                                                                       std::span<const Profile> profiles = {});

struct ErrorSummary {
  int rows = 0;  // predicted
  int skipped = 0;
  double median = 0;  // of |relative_error|
  double p90 = 0;
  double bias = 0;  // median of relative_error, signed
};
[[nodiscard]] ErrorSummary summarize_errors(const std::vector<ValidationRow>& rows);

}  // namespace moesim
