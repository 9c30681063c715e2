// ZBV (arXiv 2401.10241, section 6): two chunks per stage in the form of a V, so that the first and the last virtual stage
// stand on stage 0 and the loss is reached where the model begins. With m >= 2p-1 micro-batches and equal F, B-W and W the
// only bubble is the p-1 chunk forwards of filling: rate (p-1)/(p-1+6m). Every stage holds 2p chunk activations, as much
// memory as the p whole-stage activations of 1F1B's first stage.
#include <algorithm>

#include "sim/pipeline/schedule.hpp"

namespace moesim {
namespace {

// Writes the order of one stage; `down` and `up` are its chunks on the two legs of the V.
class ZbvOrder {
 public:
  ZbvOrder(int stage, const PipelineShape& shape)
      : stage_(stage),
        stages_(shape.stages),
        micro_batches_(shape.micro_batches),
        // The order is built for a filled pipeline; with fewer micro-batches the missing ones are left out of it.
        built_for_(std::max(2 * shape.stages - 1, shape.micro_batches)),
        down_{stage, 0, 0, 0},
        up_{2 * shape.stages - 1 - stage, 0, 0, 0} {}

  std::vector<Slot> write() {
    warm_up();
    while (up_.forwards < down_.forwards || down_.forwards < built_for_) {
      if (down_.forwards < built_for_) forward(down_);
      input(down_);
      weight(down_);
      forward(up_);
      input(up_);
      weight(up_);
    }
    cool_down();
    return std::move(slots_);
  }

 private:
  struct Leg {
    std::int32_t chunk;
    int forwards;
    int inputs;
    int weights;
  };

  void warm_up() {
    for (int i = 0; i < 2 * (stages_ - stage_) - 1; ++i) forward(down_);
    for (int i = 0; i < stage_; ++i) {
      forward(up_);
      forward(down_);
    }
    for (int i = 0; i < stages_ - stage_; ++i) {
      forward(up_);
      input(up_);
      weight(up_);
    }
  }
  // The weight halves held back fill the time in which gradients travel down the V.
  void cool_down() {
    for (int i = 0; i < stage_; ++i) {
      input(down_);
      input(up_);
    }
    for (int i = 0; i < stages_ - stage_; ++i) {
      input(down_);
      weight(down_);
    }
    while (up_.weights < up_.inputs) weight(up_);
    while (down_.weights < down_.inputs) weight(down_);
  }

  void forward(Leg& leg) { add(SlotKind::kForward, leg.chunk, leg.forwards++); }
  void input(Leg& leg) { add(SlotKind::kBackwardInput, leg.chunk, leg.inputs++); }
  void weight(Leg& leg) { add(SlotKind::kBackwardWeight, leg.chunk, leg.weights++); }
  void add(SlotKind kind, std::int32_t chunk, int micro_batch) {
    if (micro_batch < micro_batches_) slots_.push_back({kind, chunk, micro_batch});
  }

  int stage_, stages_, micro_batches_, built_for_;
  Leg down_, up_;
  std::vector<Slot> slots_;
};

class Zbv final : public PipelineSchedule {
 public:
  [[nodiscard]] std::string_view name() const override { return "zbv"; }
  [[nodiscard]] std::string_view description() const override {
    return "zero bubble with two chunks per stage in a V (ZBV, arXiv 2401.10241)";
  }
  [[nodiscard]] int chunks_per_stage(int /*vpp*/) const override { return 2; }
  [[nodiscard]] bool splits_backward() const override { return true; }
  [[nodiscard]] int stage_of(std::int32_t chunk, const PipelineShape& shape) const override {
    return chunk < shape.stages ? chunk : 2 * shape.stages - 1 - chunk;
  }
  [[nodiscard]] Status check(const PipelineShape& shape) const override { return check_pipeline_shape(*this, shape); }
  [[nodiscard]] std::vector<Slot> slots(int stage, const PipelineShape& shape) const override {
    return ZbvOrder(stage, shape).write();
  }
};

}  // namespace

const PipelineSchedule& zbv() {
  static const Zbv schedule;
  return schedule;
}

}  // namespace moesim
