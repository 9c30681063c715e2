// Interleaved 1F1B (Megatron-LM, arXiv 2104.04473): stage s holds chunks s, p+s, 2p+s, ... and runs them in turns of p
// micro-batches. With v chunks of time F/v and B/v the bubble shrinks to (p-1)(F+B)/v, rate (p-1)/(mv+p-1); stage s holds
// min(2(p-1-s) + (v-1)p + 1, mv) chunk activations.
#include <fmt/format.h>

#include <algorithm>

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
    for (int k = 0; k < warm_up; ++k) slots.push_back(forward(k, stage, shape));
    for (int k = 0; k < total; ++k) {
      if (k + warm_up < total) slots.push_back(forward(k + warm_up, stage, shape));
      slots.push_back(backward(k, stage, shape));
    }
    return slots;
  }

 private:
  // The k-th piece of work: p micro-batches through the first chunk, the same p through the next, and so on.
  struct Turn {
    int chunk;
    int micro_batch;
  };
  static Turn turn(int k, const PipelineShape& shape) {
    const int p = shape.stages, per_round = p * shape.chunks_per_stage;
    return {k % per_round / p, k / per_round * p + k % p};
  }
  static Slot forward(int k, int stage, const PipelineShape& shape) {
    const Turn t = turn(k, shape);
    return {SlotKind::kForward, t.chunk * shape.stages + stage, t.micro_batch};
  }
  static Slot backward(int k, int stage, const PipelineShape& shape) {
    const Turn t = turn(k, shape);
    return {SlotKind::kBackward, (shape.chunks_per_stage - 1 - t.chunk) * shape.stages + stage, t.micro_batch};
  }
};

}  // namespace

const PipelineSchedule& interleaved() {
  static const Interleaved schedule;
  return schedule;
}

}  // namespace moesim
