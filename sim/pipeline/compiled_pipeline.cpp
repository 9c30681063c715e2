#include "sim/pipeline/compiled_pipeline.hpp"

#include <fmt/format.h>

namespace moesim {
namespace {

bool has_forward(SlotKind kind) { return kind == SlotKind::kForward || kind == SlotKind::kForwardBackward; }
bool has_backward(SlotKind kind) { return kind != SlotKind::kForward && kind != SlotKind::kBackwardWeight; }

// One half of a slot: what runs of one (chunk, micro-batch).
struct Half {
  std::int32_t chunk;
  std::int32_t micro_batch;
};
Half backward_half(const Slot& slot) {
  if (slot.kind == SlotKind::kForwardBackward) return {slot.backward_chunk, slot.backward_micro_batch};
  return {slot.chunk, slot.micro_batch};
}

// Runs the slots of all stages side by side, one slot per stage and round, and notes what each had to wait for.
class Compiler {
 public:
  Compiler(const PipelineSchedule& schedule, const PipelineShape& shape) : schedule_(schedule) {
    out_.shape = shape;
    out_.chunks = shape.stages * schedule.chunks_per_stage(shape.chunks_per_stage);
    per_copy_ = out_.chunks / schedule.model_copies();
    for (int chunk = 0; chunk < out_.chunks; ++chunk) out_.stage_of.push_back(schedule.stage_of(chunk, shape));
    for (int stage = 0; stage < shape.stages; ++stage) order_.push_back(schedule.slots(stage, shape));
    next_.assign(order_.size(), 0);
    done_.assign(static_cast<std::size_t>(out_.chunks) * static_cast<std::size_t>(shape.micro_batches), {});
  }

  Result<CompiledPipeline> compile() {
    MOESIM_TRY(check_places());
    bool progress = true;
    while (progress) {
      progress = false;
      for (std::size_t stage = 0; stage < order_.size(); ++stage) {
        if (next_[stage] == order_[stage].size() || !ready(order_[stage][next_[stage]])) continue;
        MOESIM_TRY(run(static_cast<std::int32_t>(stage), order_[stage][next_[stage]++]));
        progress = true;
      }
    }
    MOESIM_TRY(check_all_ran());
    MOESIM_TRY(check_complete());
    return std::move(out_);
  }

 private:
  struct Done {  // 1 + step, or 0
    std::int32_t forward = 0;
    std::int32_t backward = 0;
    std::int32_t weight = 0;  // equals backward where the backward is not split
  };

  tl::unexpected<Error> broken(std::string what) const {
    return fail(ErrorKind::kInternal, fmt::format("pipeline schedule '{}': {}", schedule_.name(), what));
  }
  Done& done(Half half) { return done_[index(half)]; }
  [[nodiscard]] std::size_t index(Half half) const {
    return static_cast<std::size_t>(half.chunk) * static_cast<std::size_t>(out_.shape.micro_batches) +
           static_cast<std::size_t>(half.micro_batch);
  }
  [[nodiscard]] bool is_first(Half half) const { return half.chunk % per_copy_ == 0; }
  [[nodiscard]] bool is_last(Half half) const { return half.chunk % per_copy_ == per_copy_ - 1; }

  Status check_place(std::size_t stage, const Slot& slot, Half half) const {
    const bool known = half.chunk >= 0 && half.chunk < out_.chunks && half.micro_batch >= 0 &&
                       half.micro_batch < out_.shape.micro_batches;
    if (!known) return broken(fmt::format("stage {} has {}, which does not exist", stage, describe(slot)));
    if (out_.stage_of[static_cast<std::size_t>(half.chunk)] != static_cast<int>(stage))
      return broken(fmt::format("stage {} has {}, whose chunk stands on stage {}", stage, describe(slot),
                                out_.stage_of[static_cast<std::size_t>(half.chunk)]));
    if (schedule_.copy_of(half.micro_batch, out_.shape) != half.chunk / per_copy_)
      return broken(fmt::format("stage {} has {}, which belongs to the other model copy", stage, describe(slot)));
    return {};
  }

  Status check_places() const {
    for (const int stage : out_.stage_of)
      if (stage < 0 || stage >= out_.shape.stages) return broken("stage_of names a stage that does not exist");
    for (std::size_t stage = 0; stage < order_.size(); ++stage)
      for (const Slot& slot : order_[stage]) {
        MOESIM_TRY(check_place(stage, slot, {slot.chunk, slot.micro_batch}));
        MOESIM_TRY(check_place(stage, slot, backward_half(slot)));
      }
    return {};
  }

  bool ready(const Slot& slot) {
    if (has_forward(slot.kind) && !is_first({slot.chunk, slot.micro_batch}) &&
        done({slot.chunk - 1, slot.micro_batch}).forward == 0)
      return false;
    if (slot.kind == SlotKind::kBackwardWeight) return done({slot.chunk, slot.micro_batch}).backward != 0;
    if (!has_backward(slot.kind)) return true;
    const Half half = backward_half(slot);
    return done(half).forward != 0 && (is_last(half) || done({half.chunk + 1, half.micro_batch}).backward != 0);
  }

  Status run(std::int32_t stage, const Slot& slot) {
    const auto number = static_cast<std::int32_t>(out_.steps.size()) + 1;
    CompiledPipeline::Step step;
    step.stage = stage;
    step.span = static_cast<std::int32_t>(slot.kind) * out_.chunks + slot.chunk;
    if (has_forward(slot.kind)) {
      const Half half{slot.chunk, slot.micro_batch};
      if (done(half).forward != 0) return broken(fmt::format("stage {} repeats {}", stage, describe(slot)));
      done(half).forward = number;
      if (!is_first(half)) wait_for(step, 0, half.chunk - 1, done({half.chunk - 1, half.micro_batch}).forward, 1);
    }
    if (has_backward(slot.kind)) {
      const Half half = backward_half(slot);
      if (done(half).backward != 0) return broken(fmt::format("stage {} repeats {}", stage, describe(slot)));
      done(half).backward = number;
      if (slot.kind != SlotKind::kBackwardInput) done(half).weight = number;
      if (!is_last(half))
        wait_for(step, 1, half.chunk + 1, done({half.chunk + 1, half.micro_batch}).backward, 1 + out_.chunks);
    }
    if (slot.kind == SlotKind::kBackwardWeight) {
      Done& half = done({slot.chunk, slot.micro_batch});
      if (half.weight != 0) return broken(fmt::format("stage {} repeats {}", stage, describe(slot)));
      half.weight = number;
    }
    out_.steps.push_back(step);
    out_.slots.push_back(slot);
    return {};
  }

  // A producer on the same stage ran before, so the order of the stage implies the wait and nothing is sent.
  void wait_for(CompiledPipeline::Step& step, std::size_t half, std::int32_t producer, std::int32_t number,
                int first_delay) const {
    if (out_.stage_of[static_cast<std::size_t>(producer)] == step.stage) return;
    step.after[half] = number;
    step.delay[half] = first_delay + producer;
  }

  Status check_all_ran() const {
    std::string waiting;
    for (std::size_t stage = 0; stage < order_.size(); ++stage)
      if (next_[stage] < order_[stage].size())
        waiting +=
            fmt::format("{}stage {} at {}", waiting.empty() ? "" : "; ", stage, describe(order_[stage][next_[stage]]));
    if (waiting.empty()) return {};
    return broken(fmt::format("deadlock: {}", waiting));
  }

  Status check_complete() {
    for (std::int32_t m = 0; m < out_.shape.micro_batches; ++m) {
      const int first = schedule_.copy_of(m, out_.shape) * per_copy_;
      for (std::int32_t chunk = first; chunk < first + per_copy_; ++chunk)
        if (done({chunk, m}).weight == 0)
          return broken(fmt::format("chunk {} never finishes micro-batch {}", chunk, m));
    }
    return {};
  }

  const PipelineSchedule& schedule_;
  CompiledPipeline out_;
  int per_copy_ = 1;
  std::vector<std::vector<Slot>> order_;
  std::vector<std::size_t> next_;
  std::vector<Done> done_;
};

}  // namespace

std::string describe(const Slot& slot) {
  switch (slot.kind) {
    case SlotKind::kForward: return fmt::format("forward of chunk {}, micro-batch {}", slot.chunk, slot.micro_batch);
    case SlotKind::kBackward: return fmt::format("backward of chunk {}, micro-batch {}", slot.chunk, slot.micro_batch);
    case SlotKind::kBackwardInput:
      return fmt::format("input backward of chunk {}, micro-batch {}", slot.chunk, slot.micro_batch);
    case SlotKind::kBackwardWeight:
      return fmt::format("weight backward of chunk {}, micro-batch {}", slot.chunk, slot.micro_batch);
    case SlotKind::kForwardBackward:
      return fmt::format("forward of chunk {}, micro-batch {} with backward of chunk {}, micro-batch {}", slot.chunk,
                         slot.micro_batch, slot.backward_chunk, slot.backward_micro_batch);
  }
  return {};
}

Result<CompiledPipeline> compile_pipeline(const PipelineSchedule& schedule, const PipelineShape& shape) {
  MOESIM_TRY(schedule.check(shape));
  return Compiler(schedule, shape).compile();
}

}  // namespace moesim
