// DualPipeV (github.com/deepseek-ai/DualPipe): DualPipe cut in the middle and folded into a V, which needs one copy of the
// model: stage s holds virtual stages s and 2p-1-s, and the flow that DualPipe sends up from the other end is here the
// second leg of the same micro-batches. It behaves as DualPipe with 2p stages: bubble (p-1)(F&B + B - 3W) in times of a
// half-stage chunk, activations 2p+1 chunks.
#include <fmt/format.h>

#include "sim/pipeline/dual_order.hpp"
#include "sim/pipeline/schedule.hpp"

namespace moesim {
namespace {

class DualPipeV final : public PipelineSchedule {
 public:
  [[nodiscard]] std::string_view name() const override { return "dualpipev"; }
  [[nodiscard]] std::string_view description() const override {
    return "DualPipe folded into a V, with one copy of the model (github.com/deepseek-ai/DualPipe)";
  }
  [[nodiscard]] int chunks_per_stage(int /*vpp*/) const override { return 2; }
  [[nodiscard]] bool splits_backward() const override { return true; }
  [[nodiscard]] int stage_of(std::int32_t chunk, const PipelineShape& shape) const override {
    return chunk < shape.stages ? chunk : 2 * shape.stages - 1 - chunk;
  }
  [[nodiscard]] Status check(const PipelineShape& shape) const override {
    MOESIM_TRY(check_pipeline_shape(*this, shape));
    if (shape.micro_batches < 2 * shape.stages)
      return invalid_input(fmt::format("dualpipev needs at least 2 x pp = {} micro-batches, there are {}",
                                       2 * shape.stages, shape.micro_batches));
    return {};
  }
  [[nodiscard]] std::vector<Slot> slots(int stage, const PipelineShape& shape) const override {
    return dual_order({.depth = stage,
                       .half_stages = shape.stages,
                       .micro_batches = shape.micro_batches,
                       .near = {stage, 0},
                       .far = {2 * shape.stages - 1 - stage, 0}});
  }
};

}  // namespace

const PipelineSchedule& dualpipev() {
  static const DualPipeV schedule;
  return schedule;
}

}  // namespace moesim
