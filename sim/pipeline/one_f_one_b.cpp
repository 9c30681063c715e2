// 1F1B (PipeDream-Flush, arXiv 2006.09503): after p-1-s forwards stage s alternates one forward and one backward, so it
// holds at most p-s micro-batches. Bubble (p-1)(F+B), rate (p-1)/(m+p-1) of the step.
#include <algorithm>

#include "sim/pipeline/schedule.hpp"

namespace moesim {
namespace {

class OneForwardOneBackward final : public PipelineSchedule {
 public:
  [[nodiscard]] std::string_view name() const override { return "1f1b"; }
  [[nodiscard]] std::string_view description() const override {
    return "one forward, one backward after a warm-up (PipeDream-Flush, arXiv 2006.09503)";
  }
  [[nodiscard]] int chunks_per_stage(int /*vpp*/) const override { return 1; }
  [[nodiscard]] Status check(const PipelineShape& shape) const override { return check_pipeline_shape(*this, shape); }
  [[nodiscard]] std::vector<Slot> slots(int stage, const PipelineShape& shape) const override {
    const int warm_up = std::min(shape.stages - 1 - stage, shape.micro_batches);
    std::vector<Slot> slots;
    slots.reserve(2 * static_cast<std::size_t>(shape.micro_batches));
    for (int m = 0; m < warm_up; ++m) slots.push_back({SlotKind::kForward, stage, m});
    for (int m = 0; m < shape.micro_batches; ++m) {
      if (m + warm_up < shape.micro_batches) slots.push_back({SlotKind::kForward, stage, m + warm_up});
      slots.push_back({SlotKind::kBackward, stage, m});
    }
    return slots;
  }
};

}  // namespace

const PipelineSchedule& one_f_one_b() {
  static const OneForwardOneBackward schedule;
  return schedule;
}

}  // namespace moesim
