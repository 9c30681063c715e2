// What an execution has to tell, as sections of a report.
#pragma once

#include <vector>

#include "exec/cli/job.hpp"
#include "sim/placement/plan_replay.hpp"
#include "sim/report/report.hpp"

namespace moesim {

// A step takes as long as on its slowest rank; the median over the steps but the first, which also warms up (of one step that).
[[nodiscard]] Seconds median_step_time(const std::vector<TrainingRecord>& records);

// "run", "steps", "breakdown" and "memory", where experts moved "moves"; inputs and notes. `predicted`: of each change of slots, or
// empty.
void describe_execution(Report& report, const Job& job, const World& world, const std::vector<TrainingRecord>& records,
                        const std::vector<PlanSwitch>& predicted);

}  // namespace moesim
