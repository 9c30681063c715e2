#include "sim/pipeline/slot_player.hpp"

#include <algorithm>

namespace moesim {
namespace {

void copy_table(const std::vector<double>& table, std::span<double> target) {
  MOESIM_ASSERT(table.empty() || table.size() == target.size());
  if (table.empty()) {
    std::fill(target.begin(), target.end(), 0.0);
  } else {
    std::copy(table.begin(), table.end(), target.begin());
  }
}

}  // namespace

SlotTimes uniform_times(int chunks, double forward, double backward_input, double backward_weight) {
  const auto all = [chunks](double time) { return std::vector<double>(static_cast<std::size_t>(chunks), time); };
  SlotTimes times;
  times.forward = all(forward);
  times.backward = all(backward_input + backward_weight);
  times.backward_input = all(backward_input);
  times.backward_weight = all(backward_weight);
  times.pair = all(forward + backward_input + backward_weight);
  return times;
}

void SlotPlayer::load(const CompiledPipeline& pipeline, const SlotTimes& times) {
  const auto chunks = static_cast<std::size_t>(pipeline.chunks),
             stages = static_cast<std::size_t>(pipeline.shape.stages);
  spans_.resize(kSlotKinds * chunks);
  const std::array<const std::vector<double>*, kSlotKinds> tables = {
      &times.forward, &times.backward, &times.backward_input, &times.backward_weight, &times.pair};
  for (std::size_t kind = 0; kind < tables.size(); ++kind)
    copy_table(*tables[kind], std::span(spans_).subspan(kind * chunks, chunks));
  delays_.resize(1 + 2 * chunks);
  delays_[0] = 0;
  copy_table(times.send_forward, std::span(delays_).subspan(1, chunks));
  copy_table(times.send_backward, std::span(delays_).subspan(1 + chunks, chunks));
  ends_.resize(1 + pipeline.steps.size());
  ends_[0] = 0;
  ready_.assign(stages, 0.0);
  busy_.assign(stages, 0.0);
  bubble_.resize(stages);
  copy_table(times.stage_tail, bubble_);
}

double SlotPlayer::play(const CompiledPipeline& pipeline, const SlotTimes& times) {
  load(pipeline, times);
  double* end = ends_.data();
  for (const CompiledPipeline::Step& step : pipeline.steps) {
    const auto stage = static_cast<std::size_t>(step.stage);
    const double forward =
        ends_[static_cast<std::size_t>(step.after[0])] + delays_[static_cast<std::size_t>(step.delay[0])];
    const double backward =
        ends_[static_cast<std::size_t>(step.after[1])] + delays_[static_cast<std::size_t>(step.delay[1])];
    const double span = spans_[static_cast<std::size_t>(step.span)];
    const double finish = std::max(ready_[stage], std::max(forward, backward)) + span;
    ready_[stage] = finish;
    busy_[stage] += span;
    *++end = finish;
  }
  double total = 0;
  for (std::size_t stage = 0; stage < ready_.size(); ++stage) total = std::max(total, ready_[stage] + bubble_[stage]);
  for (std::size_t stage = 0; stage < ready_.size(); ++stage) bubble_[stage] = total - busy_[stage] - bubble_[stage];
  return total;
}

Result<PipelineTimes> play_slots(const PipelineSchedule& schedule, const PipelineShape& shape, const SlotTimes& times) {
  MOESIM_ASSIGN(const CompiledPipeline pipeline, compile_pipeline(schedule, shape));
  SlotPlayer player;
  PipelineTimes result;
  result.total = player.play(pipeline, times);
  result.busy.assign(player.busy().begin(), player.busy().end());
  result.bubble.assign(player.bubble().begin(), player.bubble().end());
  return result;
}

}  // namespace moesim
