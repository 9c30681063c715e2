// The list of pipeline schedules. Adding one: write its file, add one line to schedules.cpp.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "sim/pipeline/schedule.hpp"

namespace moesim {

[[nodiscard]] std::span<const PipelineSchedule* const> pipeline_schedules();
[[nodiscard]] Result<const PipelineSchedule*> find_pipeline_schedule(std::string_view name);

}  // namespace moesim
