#include "sim/pipeline/dual_order.hpp"

#include <deque>

namespace moesim {
namespace {

class DualWriter {
 public:
  explicit DualWriter(const DualStage& stage) : stage_(stage), near_{stage.near, 0, 0}, far_{stage.far, 0, 0} {}

  std::vector<Slot> write() {
    const int to_middle = stage_.half_stages - 1 - stage_.depth;
    const int from_end = stage_.depth + 1;
    for (int i = 0; i < 2 * to_middle; ++i) forward(near_);
    for (int i = 0; i < from_end; ++i) {
      forward(near_);
      forward(far_);
    }
    for (int i = 0; i < to_middle; ++i) {
      backward_input(far_);
      weight();
      forward(far_);
    }
    steady(stage_.micro_batches - 2 * stage_.half_stages + from_end);
    for (int i = 0; i < to_middle; ++i) {
      backward(far_);
      pair(far_, near_);
    }
    drain(from_end);
    for (int i = 0; i < to_middle; ++i) {
      weight();
      backward_input(near_);
    }
    while (!held_back_.empty()) weight();
    return std::move(slots_);
  }

 private:
  struct Flow {
    DualFlow at;
    int forwards;
    int backwards;
  };

  void steady(int rounds) {
    for (int i = 0; i < rounds; ++i) {
      // The stage in the middle starts its first backward as early as it can, not paired: that shortens the filling.
      if (i == 0 && stage_.depth == stage_.half_stages - 1) {
        forward(near_);
        backward(far_);
      } else {
        pair(near_, far_);
      }
      pair(far_, near_);
    }
  }
  // The second half of the last backwards is split, and their weight halves fill the end of the step.
  void drain(int rounds) {
    const int slots_before_split = rounds / 2 * 2 + (stage_.depth % 2 == 0 ? 1 : 0);
    for (int i = 0; i < 2 * rounds; ++i) {
      Flow& flow = i % 2 == 0 ? far_ : near_;
      if (i < slots_before_split) {
        backward(flow);
      } else {
        backward_input(flow);
      }
    }
  }

  static Slot slot(SlotKind kind, const Flow& flow, int count) {
    return {kind, flow.at.chunk, flow.at.first_micro_batch + count};
  }
  void forward(Flow& flow) { slots_.push_back(slot(SlotKind::kForward, flow, flow.forwards++)); }
  void backward(Flow& flow) { slots_.push_back(slot(SlotKind::kBackward, flow, flow.backwards++)); }
  void backward_input(Flow& flow) {
    slots_.push_back(slot(SlotKind::kBackwardInput, flow, flow.backwards));
    held_back_.push_back(slot(SlotKind::kBackwardWeight, flow, flow.backwards++));
  }
  void weight() {
    slots_.push_back(held_back_.front());
    held_back_.pop_front();
  }
  void pair(Flow& ahead, Flow& back) {
    slots_.push_back({SlotKind::kForwardBackward, ahead.at.chunk, ahead.at.first_micro_batch + ahead.forwards++,
                      back.at.chunk, back.at.first_micro_batch + back.backwards++});
  }

  const DualStage& stage_;
  Flow near_, far_;
  std::deque<Slot> held_back_;
  std::vector<Slot> slots_;
};

}  // namespace

std::vector<Slot> dual_order(const DualStage& stage) { return DualWriter(stage).write(); }

}  // namespace moesim
