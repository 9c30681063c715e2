// ZB1P, also called ZB-H1 (arXiv 2401.10241): 1F1B with the backward split. Stage s lets its weight halves lag s
// micro-batches behind, so that they fill the cool-down, where 1F1B idles. Every stage holds min(p, m) activations, which
// is what the first stage of 1F1B holds. Bubble (p-1)(F+B-2W) with B the whole backward, for W not above F and B-W.
#include <algorithm>

#include "sim/pipeline/schedule.hpp"

namespace moesim {
namespace {

class Zb1p final : public PipelineSchedule {
 public:
  [[nodiscard]] std::string_view name() const override { return "zb1p"; }
  [[nodiscard]] std::string_view description() const override {
    return "1F1B with weight gradients moved into the bubble (ZB-H1, arXiv 2401.10241)";
  }
  [[nodiscard]] int chunks_per_stage(int /*vpp*/) const override { return 1; }
  [[nodiscard]] bool splits_backward() const override { return true; }
  [[nodiscard]] Status check(const PipelineShape& shape) const override { return check_pipeline_shape(*this, shape); }
  [[nodiscard]] std::vector<Slot> slots(int stage, const PipelineShape& shape) const override {
    const int micro_batches = shape.micro_batches;
    const int warm_up = std::min(shape.stages - 1 - stage, micro_batches);
    std::vector<Slot> slots;
    slots.reserve(3 * static_cast<std::size_t>(micro_batches));
    for (int m = 0; m < warm_up; ++m) slots.push_back({SlotKind::kForward, stage, m});
    for (int m = 0; m < micro_batches; ++m) {
      if (m + warm_up < micro_batches) slots.push_back({SlotKind::kForward, stage, m + warm_up});
      slots.push_back({SlotKind::kBackwardInput, stage, m});
      if (m >= stage) slots.push_back({SlotKind::kBackwardWeight, stage, m - stage});
    }
    for (int m = std::max(0, micro_batches - stage); m < micro_batches; ++m)
      slots.push_back({SlotKind::kBackwardWeight, stage, m});
    return slots;
  }
};

}  // namespace

const PipelineSchedule& zb1p() {
  static const Zb1p schedule;
  return schedule;
}

}  // namespace moesim
