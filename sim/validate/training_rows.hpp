// Prediction beside measurement for files of published training runs; what `moesim validate` prints for them.
//
// Each row becomes a model, a cluster and a plan (row_model.hpp) and one simulated step. A row gives one result for its
// speed, in the first of these that it has: step_time_s, tokens_per_s_per_gpu, mfu_pct (when the TFLOPS were derived from
// it), tflops_per_gpu, mfu_pct; and one for peak_mem_gib where that is published. The others say the same in another
// unit. A row without a prediction gives one result with the reason.
// Recomputation that is not published is none; if that does not fit the device's memory, selective, then full.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/csv.hpp"
#include "base/error.hpp"
#include "calibration/profile.hpp"
#include "sim/plan/plan.hpp"
#include "sim/report/validation_summary.hpp"
#include "sim/simulate/step.hpp"

namespace moesim {

struct TrainingPrediction {
  ComparedRow compared;
  std::string source;  // whose measurement
  std::string framework;
  std::string model;
  bool is_moe = false;
  std::vector<std::string> notes;  // what was assumed, and what the simulation leaves out
  Plan plan;                       // what was simulated; of no meaning where skipped
  StepMetrics metrics;             // likewise
};

// Told by the header alone.
[[nodiscard]] Result<bool> is_training_file(const std::string& path);

// Profiles in order of preference, before the shipped ones.
[[nodiscard]] Result<std::vector<TrainingPrediction>> validate_training(const std::string& path,
                                                                        std::span<const Profile> profiles = {});
[[nodiscard]] Result<std::vector<TrainingPrediction>> validate_training(CsvReader& reader,
                                                                        std::span<const Profile> profiles = {});

}  // namespace moesim
