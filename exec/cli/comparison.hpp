// What the simulator predicted for a plan beside what its execution took: the whole step, and operation by operation.
//
// Operations of one name, kind and phase are summed over the last step and all ranks. Predicted is the replay of every rank (no
// folding); measured are the times without waiting (exec/run/operation_times.hpp), as the replay has them.
#pragma once

#include <string>
#include <vector>

#include "exec/cli/job.hpp"
#include "models/cost/cost_model.hpp"

namespace moesim {

struct ComparedOperation {
  std::string name;   // "experts.up"
  std::string kind;   // "grouped_gemm"
  std::string phase;  // "forward"
  std::int64_t count = 0;
  Seconds predicted;
  Seconds measured;
};

struct ComparedPlan {
  std::string name;
  Seconds predicted;  // of the step
  Seconds measured;
  std::vector<ComparedOperation> operations;  // those that took longest first
};

// The cost model's cluster must have as many ranks as the plan.
[[nodiscard]] Result<ComparedPlan> compare_with_prediction(const Job& job, const CostModel& costs,
                                                           const std::vector<TrainingRecord>& records);

}  // namespace moesim
