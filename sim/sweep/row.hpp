// One row of a sweep's result: the point, its plan, and what came out. The same columns for every format.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "sim/plan/plan.hpp"
#include "sim/report/metric.hpp"
#include "sim/simulate/step.hpp"
#include "traces/trace_info.hpp"

namespace moesim {

enum class PointStatus : std::uint8_t {
  kOk,       // simulated; whether it fits into memory stands in `fits`
  kInvalid,  // the plan breaks a rule: `error` says which
  kFailed,   // our own fault: `error` says what happened
};
[[nodiscard]] std::string_view status_name(PointStatus status);  // "ok", "invalid", "failed"

using SweepRow = std::vector<MetricValue>;

[[nodiscard]] std::span<const MetricColumn> sweep_columns();
// The place of a column that exists.
[[nodiscard]] std::size_t sweep_column(std::string_view key);

struct PointOutcome {
  PointStatus status = PointStatus::kOk;
  std::string error;
  StepMetrics metrics;  // of kOk
};
// What the files that the plan names turned out to be.
struct PointSources {
  int nodes = 0;                            // as the compiled cluster has them
  std::optional<TraceOrigin> trace_origin;  // none: no trace, routing is balanced
};
[[nodiscard]] SweepRow make_row(std::int64_t point, const PlanFile& file, const PointSources& sources,
                                const PointOutcome& outcome);

// A row as one line of JSON without the line break, and back. Numbers survive exactly.
[[nodiscard]] std::string row_to_json(const SweepRow& row);
[[nodiscard]] Result<SweepRow> row_from_json(std::string_view line);
[[nodiscard]] std::int64_t point_of(const SweepRow& row);

}  // namespace moesim
