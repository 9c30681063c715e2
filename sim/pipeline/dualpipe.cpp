// DualPipe (DeepSeek-V3, arXiv 2412.19437): micro-batches enter from both ends, and the forward of one overlaps with the
// backward of another that comes the other way. Stage s holds the layers of virtual stage s for the way down and those of
// virtual stage p-1-s for the way up: two copies of the model. With p stages, virtual stage c < p of the first copy
// stands on stage c and virtual stage p+c of the second copy on stage p-1-c; micro-batches 0 .. m/2-1 use the first copy.
// Bubble (p/2-1)(F&B + B - 3W), activations p+1.
#include <fmt/format.h>

#include <algorithm>

#include "sim/pipeline/dual_order.hpp"
#include "sim/pipeline/schedule.hpp"

namespace moesim {
namespace {

class DualPipe final : public PipelineSchedule {
 public:
  [[nodiscard]] std::string_view name() const override { return "dualpipe"; }
  [[nodiscard]] std::string_view description() const override {
    return "micro-batches from both ends, forwards overlapped with backwards (DeepSeek-V3, arXiv 2412.19437)";
  }
  [[nodiscard]] int chunks_per_stage(int /*vpp*/) const override { return 2; }
  [[nodiscard]] int model_copies() const override { return 2; }
  [[nodiscard]] int copy_of(std::int32_t micro_batch, const PipelineShape& shape) const override {
    return micro_batch < shape.micro_batches / 2 ? 0 : 1;
  }
  [[nodiscard]] bool splits_backward() const override { return true; }
  [[nodiscard]] int stage_of(std::int32_t chunk, const PipelineShape& shape) const override {
    return chunk < shape.stages ? chunk : 2 * shape.stages - 1 - chunk;
  }

  [[nodiscard]] Status check(const PipelineShape& shape) const override {
    MOESIM_TRY(check_pipeline_shape(*this, shape));
    if (shape.stages % 2 != 0)
      return invalid_input(fmt::format("dualpipe needs an even number of stages, pp is {}", shape.stages));
    if (shape.micro_batches % 2 != 0 || shape.micro_batches < 2 * shape.stages)
      return invalid_input(
          fmt::format("dualpipe needs an even number of micro-batches, at least 2 x pp = {}; there are {}",
                      2 * shape.stages, shape.micro_batches));
    return {};
  }

  [[nodiscard]] std::vector<Slot> slots(int stage, const PipelineShape& shape) const override {
    const int half = shape.micro_batches / 2;
    const DualFlow down{stage, 0}, up{2 * shape.stages - 1 - stage, half};
    const bool upper_half = stage < shape.stages / 2;
    return dual_order({.depth = std::min(stage, shape.stages - 1 - stage),
                       .half_stages = shape.stages / 2,
                       .micro_batches = half,
                       .near = upper_half ? down : up,
                       .far = upper_half ? up : down});
  }
};

}  // namespace

const PipelineSchedule& dualpipe() {
  static const DualPipe schedule;
  return schedule;
}

}  // namespace moesim
