// The list of pipeline schedules. Adding one: write its file, name it in schedules.cpp (and in CMakeLists.txt).
#pragma once

#include <span>
#include <string_view>

#include "sim/pipeline/schedule.hpp"

namespace moesim {

[[nodiscard]] std::span<const PipelineSchedule* const> pipeline_schedules();
[[nodiscard]] Result<const PipelineSchedule*> find_pipeline_schedule(std::string_view name);

}  // namespace moesim
