// The order in which a pipeline stage runs its micro-batches. One file per schedule; schedules.hpp lists them.
//
// The model is cut into `chunks_per_stage * stages` virtual stages, numbered in model order. A schedule says which
// virtual stage lives where and gives, for every stage, the sequence of slots. Everything else (times, bubbles, memory
// in flight) follows from replaying the slots; the closed forms of the papers are tests.
//
// Contract: every micro-batch passes every virtual stage of its model copy with exactly one forward and one complete
// backward (a kBackward, or a kBackwardInput followed later by its kBackwardWeight); the slots of all stages can be
// executed in order without deadlock when sends do not block. sim/pipeline/slot_check.hpp checks it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace moesim {

enum class SlotKind : std::uint8_t {
  kForward,
  kBackward,         // input and weight gradients together
  kBackwardInput,    // zero-bubble's B
  kBackwardWeight,   // zero-bubble's W
  kForwardBackward,  // DualPipe: the forward of one micro-batch overlapped with the backward of another
};

struct Slot {
  SlotKind kind = SlotKind::kForward;
  std::int32_t chunk = 0;  // virtual stage, in model order
  std::int32_t micro_batch = 0;
  // kForwardBackward only: the backward half (chunk and micro_batch above are the forward half).
  std::int32_t backward_chunk = -1;
  std::int32_t backward_micro_batch = -1;
  bool operator==(const Slot&) const = default;
};

struct PipelineShape {
  int stages = 1;
  int micro_batches = 1;
  int chunks_per_stage = 1;  // vpp as given in the plan; check() demands the number that the schedule holds
  [[nodiscard]] int chunks() const { return stages * chunks_per_stage; }  // over all model copies
};

class PipelineSchedule {
 public:
  virtual ~PipelineSchedule() = default;
  [[nodiscard]] virtual std::string_view name() const = 0;         // "1f1b", as in Plan::pipeline
  [[nodiscard]] virtual std::string_view description() const = 0;  // one line, with the paper
  // Whether the schedule exists for this shape ("interleaved needs micro-batches in multiples of the stages").
  [[nodiscard]] virtual Status check(const PipelineShape& shape) const = 0;
  // Model chunks that each stage holds, given vpp: 1 for 1F1B, vpp for interleaved, 2 for ZBV and DualPipe.
  [[nodiscard]] virtual int chunks_per_stage(int vpp) const { return vpp; }
  // Copies of the whole model that the stages hold together: 2 for DualPipe (both directions), else 1. With two copies
  // virtual stages 0..n-1 belong to the first and n..2n-1 to the second copy (same layers again).
  [[nodiscard]] virtual int model_copies() const { return 1; }
  // The copy that a micro-batch passes through.
  [[nodiscard]] virtual int copy_of(std::int32_t /*micro_batch*/, const PipelineShape& /*shape*/) const { return 0; }
  // The stage that holds a virtual stage.
  [[nodiscard]] virtual int stage_of(std::int32_t chunk, const PipelineShape& shape) const {
    return chunk % shape.stages;
  }
  [[nodiscard]] virtual bool splits_backward() const { return false; }
  // The shape must pass check().
  [[nodiscard]] virtual std::vector<Slot> slots(int stage, const PipelineShape& shape) const = 0;
};

// What every schedule demands of a shape: positive numbers of bounded size, and vpp equal to the chunks that the
// schedule holds on a stage. For use in check().
[[nodiscard]] Status check_pipeline_shape(const PipelineSchedule& schedule, const PipelineShape& shape);

// Virtual stages of one model copy.
[[nodiscard]] int virtual_stages(const PipelineSchedule& schedule, const PipelineShape& shape);

}  // namespace moesim
