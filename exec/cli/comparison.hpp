// What the simulator predicted for a plan beside what its execution took: the whole step, and operation by operation.
//
// Operations of one name, kind and phase are summed over the last step and all ranks. Predicted is the replay of every rank (no
// folding); measured are the times without waiting (exec/run/operation_times.hpp), as the replay has them.
#pragma once

#include <string>
#include <vector>

#include "exec/cli/prediction.hpp"

namespace moesim {

struct ComparedOperation {
  std::string name;   // "experts.up"
  std::string kind;   // "grouped_gemm"
  std::string phase;  // "forward"
  bool communication = false;
  std::int64_t count = 0;
  Seconds predicted;
  Seconds measured;
};

struct ComparedPlan {
  std::string name;
  Seconds predicted;  // of the step
  Seconds measured;
  double outside = 0;  // share of the operations that were priced outside the range their law was fitted on
  std::vector<ComparedOperation> operations;  // those that took longest first
};

[[nodiscard]] ComparedPlan compare_with_prediction(const Job& job, const Prediction& prediction,
                                                   const std::vector<TrainingRecord>& records);

}  // namespace moesim
