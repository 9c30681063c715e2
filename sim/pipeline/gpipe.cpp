// GPipe (arXiv 1811.06965, figure 2c): all forwards, then all backwards, the last micro-batch first. The bubble is that
// of 1F1B, (p-1)(F+B), but every stage holds the activations of all m micro-batches.
#include "sim/pipeline/schedule.hpp"

namespace moesim {
namespace {

class Gpipe final : public PipelineSchedule {
 public:
  [[nodiscard]] std::string_view name() const override { return "gpipe"; }
  [[nodiscard]] std::string_view description() const override {
    return "all forwards, then all backwards (GPipe, arXiv 1811.06965)";
  }
  [[nodiscard]] int chunks_per_stage(int /*vpp*/) const override { return 1; }
  [[nodiscard]] Status check(const PipelineShape& shape) const override { return check_pipeline_shape(*this, shape); }
  [[nodiscard]] std::vector<Slot> slots(int stage, const PipelineShape& shape) const override {
    std::vector<Slot> slots;
    slots.reserve(2 * static_cast<std::size_t>(shape.micro_batches));
    for (int m = 0; m < shape.micro_batches; ++m) slots.push_back({SlotKind::kForward, stage, m});
    for (int m = shape.micro_batches - 1; m >= 0; --m) slots.push_back({SlotKind::kBackward, stage, m});
    return slots;
  }
};

}  // namespace

const PipelineSchedule& gpipe() {
  static const Gpipe schedule;
  return schedule;
}

}  // namespace moesim
