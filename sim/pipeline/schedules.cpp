#include "sim/pipeline/schedules.hpp"

#include <fmt/format.h>

#include <array>
#include <string>
#include <vector>

#include "base/text.hpp"

namespace moesim {

// Each defined in the file of its name.
const PipelineSchedule& one_f_one_b();
const PipelineSchedule& gpipe();
const PipelineSchedule& interleaved();
const PipelineSchedule& zb1p();
const PipelineSchedule& zbv();
const PipelineSchedule& dualpipe();
const PipelineSchedule& dualpipev();
const PipelineSchedule& one_f_one_b_overlap();  // overlapped.cpp
const PipelineSchedule& interleaved_overlap();

std::span<const PipelineSchedule* const> pipeline_schedules() {
  static const std::array kSchedules = {&one_f_one_b(),
                                        &gpipe(),
                                        &interleaved(),
                                        &zb1p(),
                                        &zbv(),
                                        &dualpipe(),
                                        &dualpipev(),
                                        &one_f_one_b_overlap(),
                                        &interleaved_overlap()};
  return kSchedules;
}

Result<const PipelineSchedule*> find_pipeline_schedule(std::string_view name) {
  std::vector<std::string> names;
  for (const PipelineSchedule* schedule : pipeline_schedules()) {
    if (schedule->name() == name) return schedule;
    names.emplace_back(schedule->name());
  }
  return invalid_input(fmt::format("unknown pipeline schedule '{}'{}", name, did_you_mean(name, names)), {},
                       fmt::format("one of {}", fmt::join(names, ", ")));
}

}  // namespace moesim
