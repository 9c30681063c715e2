// Plans and what a simulated step of them gives, in the words and the order of the field: TP CP PP VPP DP EP ESP EDP MBS.
#pragma once

#include <string>
#include <vector>

#include "sim/plan/plan.hpp"
#include "sim/report/metric.hpp"
#include "sim/simulate/step.hpp"

namespace moesim {

// layout.*, micro_batch, pipeline, recompute, zero_dense, zero_expert
[[nodiscard]] std::vector<Metric> plan_metrics(const Plan& plan);
// step_time_s, tokens_per_s_per_gpu, mfu, peak_memory_bytes, fits, ...
[[nodiscard]] std::vector<Metric> step_metrics(const StepMetrics& metrics);

// Appends a record to a table whose columns are those of the first record.
void add_record_row(MetricTable& table, const std::vector<Metric>& metrics, RowTone tone = RowTone::kPlain);

// Where the time of the stage that sets the pace goes: one row per category that takes any, largest first.
[[nodiscard]] MetricTable breakdown_table(const StepMetrics& metrics);
// Per pipeline stage.
[[nodiscard]] MetricTable memory_table(const MemoryReport& memory);

}  // namespace moesim
