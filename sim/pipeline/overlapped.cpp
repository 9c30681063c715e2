// 1F1B with the forward of one micro-batch run beside the backward of another, so that each hides the expert communication of the
// other: Megatron-Core's overlap of all-to-all and computation between micro-batches (--overlap-moe-expert-parallel-comm).
//
// A pair hands on both of its results when it ends. For a steady flow of pairs a stage must be two forwards ahead of the next, not
// one, and one more to have something to pair with: warm-up 2(p-1-s) + 1 forwards, which interleaved 1F1B has but for the one.
// With T = F&B the step takes p(F+B) + (m-1)T, if m >= 2p-1: without gain from the overlap (T = F+B) that of 1F1B. Stage s holds
// min(2(p-1-s) + 2, m) activations, interleaved min(2(p-1-s) + (v-1)p + 2, mv) of chunks. Works on one stage as well.
#include <fmt/format.h>

#include <algorithm>

#include "sim/pipeline/interleaved_turns.hpp"
#include "sim/pipeline/schedule.hpp"

namespace moesim {
const PipelineSchedule& interleaved();

namespace {

enum class ChunksOnAStage : std::uint8_t { kOne, kSeveral };

class Overlapped final : public PipelineSchedule {
 public:
  explicit Overlapped(ChunksOnAStage chunks) : chunks_(chunks) {}
  [[nodiscard]] std::string_view name() const override { return one() ? "1f1b-overlap" : "interleaved-overlap"; }
  [[nodiscard]] std::string_view description() const override {
    return one() ? "1F1B with each forward beside a backward, which hide each other's exchanges (Megatron-Core)"
                 : "interleaved with each forward beside a backward, which hide each other's exchanges (Megatron-Core)";
  }
  [[nodiscard]] int chunks_per_stage(int vpp) const override { return one() ? 1 : vpp; }
  [[nodiscard]] Status check(const PipelineShape& shape) const override {
    return one() ? check_pipeline_shape(*this, shape) : interleaved().check(shape);
  }
  [[nodiscard]] std::vector<Slot> slots(int stage, const PipelineShape& shape) const override {
    const int total = shape.micro_batches * shape.chunks_per_stage;
    const int warm_up =
        std::min(2 * (shape.stages - 1 - stage) + (shape.chunks_per_stage - 1) * shape.stages + 1, total);
    std::vector<Slot> slots;
    slots.reserve(static_cast<std::size_t>(total + warm_up));
    for (int k = 0; k < warm_up; ++k) {
      const InterleavedTurn forward = forward_turn(k, stage, shape);
      slots.push_back({SlotKind::kForward, forward.chunk, forward.micro_batch});
    }
    for (int k = 0; k < total; ++k) {
      const InterleavedTurn backward = backward_turn(k, stage, shape);
      if (k + warm_up >= total) {
        slots.push_back({SlotKind::kBackward, backward.chunk, backward.micro_batch});
        continue;
      }
      const InterleavedTurn forward = forward_turn(k + warm_up, stage, shape);
      slots.push_back(
          {SlotKind::kForwardBackward, forward.chunk, forward.micro_batch, backward.chunk, backward.micro_batch});
    }
    return slots;
  }

 private:
  [[nodiscard]] bool one() const { return chunks_ == ChunksOnAStage::kOne; }

  ChunksOnAStage chunks_;
};

}  // namespace

const PipelineSchedule& one_f_one_b_overlap() {
  static const Overlapped schedule(ChunksOnAStage::kOne);
  return schedule;
}

const PipelineSchedule& interleaved_overlap() {
  static const Overlapped schedule(ChunksOnAStage::kSeveral);
  return schedule;
}

}  // namespace moesim
