// Short spellings for the tests of the pipeline schedules.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "sim/pipeline/schedules.hpp"
#include "sim/pipeline/slot_check.hpp"
#include "sim/pipeline/slot_player.hpp"

namespace moesim {

inline const PipelineSchedule& schedule_named(std::string_view name) { return *find_pipeline_schedule(name).value(); }

// F, B, W of one chunk: forward, input half and weight half of the backward.
struct ChunkTimes {
  double forward;
  double input;
  double weight;
};

inline PipelineTimes played(std::string_view name, const PipelineShape& shape, const ChunkTimes& times,
                            double pair = 0) {
  const PipelineSchedule& schedule = schedule_named(name);
  SlotTimes table = uniform_times(shape.chunks(), times.forward, times.input, times.weight);
  if (pair > 0) table.pair.assign(table.pair.size(), pair);
  const auto result = play_slots(schedule, shape, table);
  EXPECT_TRUE(result.has_value()) << name << ": " << (result ? std::string() : result.error().what);
  return result.value_or(PipelineTimes{});
}

inline std::vector<int> stage_peaks(std::string_view name, const PipelineShape& shape) {
  return count_in_flight(compile_pipeline(schedule_named(name), shape).value()).stage_peak;
}

// "F0 F1 I0 W0 ...": one stage's slots in order, for schedules with one chunk per stage.
inline std::string order_text(std::string_view name, int stage, const PipelineShape& shape) {
  std::string text;
  for (const Slot& slot : schedule_named(name).slots(stage, shape)) {
    constexpr std::string_view kLetters = "FBIW";
    if (!text.empty()) text += ' ';
    text += kLetters[static_cast<std::size_t>(slot.kind)];
    text += std::to_string(slot.micro_batch);
  }
  return text;
}

}  // namespace moesim
