// The slots of all stages in one order in which they can run, each with the slots it waits for. Made once per
// (schedule, stages, micro-batches, chunks) and shared by every plan of that shape; slot_player.hpp plays it.
//
// Making it checks the schedule's contract (schedule.hpp): each stage names only chunks it holds, every micro-batch
// passes every virtual stage of its copy with one forward and one complete backward, in an order that does not deadlock.
// Errors name the stages that wait and for what. They are kInternal: a schedule of ours is wrong, not the user's plan;
// only a shape that the schedule refuses is invalid input.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "sim/pipeline/schedule.hpp"

namespace moesim {

struct CompiledPipeline {
  // Indices are laid out so that playing needs no branch: 0 stands for "nothing" (time 0, delay 0).
  struct Step {
    std::int32_t stage = 0;
    std::int32_t span = 0;                // kind * chunks + chunk
    std::array<std::int32_t, 2> after{};  // 1 + the step waited for: the forward half's and the backward half's
    std::array<std::int32_t, 2> delay{};  // 1 + producing chunk, or 1 + chunks + producing chunk for a gradient
  };

  PipelineShape shape;
  int chunks = 0;             // over all model copies
  std::vector<int> stage_of;  // by chunk
  std::vector<Step> steps;
  std::vector<Slot> slots;  // the slot of each step
};

constexpr int kSlotKinds = 5;

[[nodiscard]] Result<CompiledPipeline> compile_pipeline(const PipelineSchedule& schedule, const PipelineShape& shape);

// "forward of chunk 3, micro-batch 7", for messages.
[[nodiscard]] std::string describe(const Slot& slot);

}  // namespace moesim
