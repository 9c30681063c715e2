// Fits a law's few physical parameters to measurements.
//
// Minimises the mean of |ln(predicted / measured)| (so that a row at twice the time counts as one at half,
// and a few outliers do not decide), weighted by ln(1 + time / 10 us) because a step is made of its long
// operations, by coordinate descent: each free parameter in turn is moved along a shrinking multiplicative
// step within its bounds, until a round gains nothing; the best of a few first steps counts. Deterministic.
//
// `held_out` says how far the law carries: fitted again on every other row, judged on the rest.
#pragma once

#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "calibration/measurement.hpp"
#include "calibration/parameter_fields.hpp"
#include "calibration/quantile.hpp"

namespace moesim {

struct FreeParameter {
  const ParameterSection* section = nullptr;
  const ParameterField* field = nullptr;
};
// By section and field name; names are our own, so an unknown one asserts.
[[nodiscard]] std::vector<FreeParameter> free_parameters(
    std::span<const std::pair<std::string_view, std::string_view>> names);

struct Residuals {
  int points = 0;
  double median = 0;  // of |predicted/measured - 1|
  double p90 = 0;
  double bias = 0;  // median of predicted/measured - 1
};

struct FitResult {
  LawParameters parameters;
  Residuals residuals;
  Residuals held_out;
};

// Rows with a skip reason are passed over. Every row's view must hold one kind of device.
[[nodiscard]] Residuals residuals(const LawParameters& parameters, std::span<const Measurement> rows);
// The fit alone, without residuals.
[[nodiscard]] LawParameters best_parameters(const LawParameters& start, std::span<const FreeParameter> free,
                                            std::span<const Measurement> rows);
[[nodiscard]] FitResult fit(const LawParameters& start, std::span<const FreeParameter> free,
                            std::span<const Measurement> rows);

}  // namespace moesim
