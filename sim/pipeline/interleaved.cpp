// Interleaved 1F1B (Megatron-LM, arXiv 2104.04473): stage s holds chunks s, p+s, 2p+s, ... and runs them in turns of p
// micro-batches. With v chunks of time F/v and B/v the bubble shrinks to (p-1)(F+B)/v, rate (p-1)/(mv+p-1); stage s holds
// min(2(p-1-s) + (v-1)p + 1, mv) chunk activations.
#include <fmt/format.h>

#include <algorithm>

#include "sim/pipeline/interleaved_turns.hpp"
#include "sim/pipeline/schedule.hpp"

namespace moesim {
namespace {

class Interleaved final : public PipelineSchedule {
 public:
  [[nodiscard]] std::string_view name() const override { return "interleaved"; }
  [[nodiscard]] std::string_view description() const override {
    return "1F1B over several model chunks per stage (Megatron-LM, arXiv 2104.04473)";
  }
  [[nodiscard]] Status check(const PipelineShape& shape) const override {
    MOESIM_TRY(check_pipeline_shape(*this, shape));
    if (shape.stages == 1)
      return invalid_input("pipeline-model-parallel size should be greater than 1 with interleaved schedule", {},
                           "use pipeline 1f1b with vpp 1");
    if (shape.chunks_per_stage == 1)
      return invalid_input("interleaved needs at least 2 model chunks per stage, vpp is 1", {},
                           "set vpp, or use pipeline 1f1b");
    if (shape.micro_batches % shape.stages != 0)
      return invalid_input(
          fmt::format("number of microbatches ({}) is not divisible by pipeline-model-parallel size ({}) when "
                      "using interleaved schedule",
                      shape.micro_batches, shape.stages));
    return {};
  }

  [[nodiscard]] std::vector<Slot> slots(int stage, const PipelineShape& shape) const override {
    const int total = shape.micro_batches * shape.chunks_per_stage;
    const int warm_up = std::min(2 * (shape.stages - 1 - stage) + (shape.chunks_per_stage - 1) * shape.stages, total);
    std::vector<Slot> slots;
    slots.reserve(2 * static_cast<std::size_t>(total));
    const auto forward = [&](int k) {
      const InterleavedTurn turn = forward_turn(k, stage, shape);
      slots.push_back({SlotKind::kForward, turn.chunk, turn.micro_batch});
    };
    for (int k = 0; k < warm_up; ++k) forward(k);
    for (int k = 0; k < total; ++k) {
      if (k + warm_up < total) forward(k + warm_up);
      const InterleavedTurn turn = backward_turn(k, stage, shape);
      slots.push_back({SlotKind::kBackward, turn.chunk, turn.micro_batch});
    }
    return slots;
  }
};

}  // namespace

const PipelineSchedule& interleaved() {
  static const Interleaved schedule;
  return schedule;
}

}  // namespace moesim
