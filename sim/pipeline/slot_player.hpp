// How long a pipeline takes when every slot has a known duration: an exact max-plus replay at slot level, O(slots).
// A slot starts when its stage is free and its input has arrived; sends do not block and do not contend.
//
// Times are in one unit of the caller's choice (seconds in the search). Tables are by virtual stage over all model
// copies, except `stage_tail`; an empty table means zeros.
// Example: 1F1B, 4 stages, 8 micro-batches, forward 1, backward 2, sends 0: (8 + 3) * 3 = 33, bubble 9 on every stage.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "base/error.hpp"
#include "sim/pipeline/compiled_pipeline.hpp"

namespace moesim {

struct SlotTimes {
  std::vector<double> forward;
  std::vector<double> backward;  // whole
  std::vector<double> backward_input;
  std::vector<double> backward_weight;
  std::vector<double> pair;           // kForwardBackward, by the chunk of its forward half: the partner is always the
                                      // other chunk of the same stage
  std::vector<double> send_forward;   // from this chunk to the next; counts only when that stands on another stage
  std::vector<double> send_backward;  // from this chunk to the one before
  std::vector<double> stage_tail;     // by stage: work after its last slot (gradient reduction, optimizer)
};

// The same times for every chunk: the backward is the sum of its halves, a pair the sum of a forward and a backward.
[[nodiscard]] SlotTimes uniform_times(int chunks, double forward, double backward_input, double backward_weight);

// Reused between calls, so that playing allocates nothing once the largest shape has been seen.
class SlotPlayer {
 public:
  // The step's total time. The tables of `times` must be empty or fit the pipeline.
  [[nodiscard]] double play(const CompiledPipeline& pipeline, const SlotTimes& times);

  // Of the last play, by stage: time in slots, and time the stage waits (total - busy - tail).
  [[nodiscard]] std::span<const double> busy() const { return busy_; }
  [[nodiscard]] std::span<const double> bubble() const { return bubble_; }
  // End of each step of the last play, by its place in CompiledPipeline::steps.
  [[nodiscard]] std::span<const double> step_ends() const { return std::span(ends_).subspan(1); }

 private:
  void load(const CompiledPipeline& pipeline, const SlotTimes& times);

  std::vector<double> spans_;   // by Step::span
  std::vector<double> delays_;  // by Step::delay
  std::vector<double> ends_;    // by 1 + step
  std::vector<double> ready_;   // by stage
  std::vector<double> busy_;
  std::vector<double> bubble_;
};

struct PipelineTimes {
  double total = 0;
  std::vector<double> busy;
  std::vector<double> bubble;
};
// For single questions; a search compiles once and keeps a SlotPlayer.
[[nodiscard]] Result<PipelineTimes> play_slots(const PipelineSchedule& schedule, const PipelineShape& shape,
                                               const SlotTimes& times);

}  // namespace moesim
