#include "sim/pipeline/slot_check.hpp"

#include <algorithm>

namespace moesim {
namespace {

// Calls take(stage, chunk, change) in the order of events: change +1 for a forward, -1 for a full backward,
// and for the halves of a split backward `input` and `weight`.
enum class Change : std::uint8_t { kForward, kBackward, kInput, kWeight };

template <class Take>
void walk(const CompiledPipeline& pipeline, Take take) {
  for (std::size_t i = 0; i < pipeline.slots.size(); ++i) {
    const Slot& slot = pipeline.slots[i];
    const auto stage = static_cast<std::size_t>(pipeline.steps[i].stage);
    const auto chunk = static_cast<std::size_t>(slot.chunk);
    switch (slot.kind) {
      case SlotKind::kForward: take(stage, chunk, Change::kForward); break;
      case SlotKind::kBackward: take(stage, chunk, Change::kBackward); break;
      case SlotKind::kBackwardInput: take(stage, chunk, Change::kInput); break;
      case SlotKind::kBackwardWeight: take(stage, chunk, Change::kWeight); break;
      case SlotKind::kForwardBackward:
        take(stage, chunk, Change::kForward);
        take(stage, static_cast<std::size_t>(slot.backward_chunk), Change::kBackward);
        break;
    }
  }
}

}  // namespace

Status check_slots(const PipelineSchedule& schedule, const PipelineShape& shape) {
  MOESIM_TRY(compile_pipeline(schedule, shape));
  return {};
}

InFlight count_in_flight(const CompiledPipeline& pipeline) {
  const auto stages = static_cast<std::size_t>(pipeline.shape.stages),
             chunks = static_cast<std::size_t>(pipeline.chunks);
  InFlight peak{std::vector<int>(stages, 0), std::vector<int>(chunks, 0)};
  std::vector<int> on_stage(stages, 0), of_chunk(chunks, 0);
  walk(pipeline, [&](std::size_t stage, std::size_t chunk, Change change) {
    const int step = change == Change::kForward ? 1 : change == Change::kInput ? 0 : -1;
    peak.stage_peak[stage] = std::max(peak.stage_peak[stage], on_stage[stage] += step);
    peak.chunk_peak[chunk] = std::max(peak.chunk_peak[chunk], of_chunk[chunk] += step);
  });
  return peak;
}

void activation_peaks(const CompiledPipeline& pipeline, const ActivationBytes& bytes, std::span<std::int64_t> peak) {
  MOESIM_ASSERT(peak.size() == static_cast<std::size_t>(pipeline.shape.stages));
  MOESIM_ASSERT(bytes.forward.size() == static_cast<std::size_t>(pipeline.chunks));
  MOESIM_ASSERT(bytes.weight_part.size() == bytes.forward.size());
  std::fill(peak.begin(), peak.end(), 0);
  std::vector<std::int64_t> held(peak.size(), 0);
  walk(pipeline, [&](std::size_t stage, std::size_t chunk, Change change) {
    switch (change) {
      case Change::kForward: held[stage] += bytes.forward[chunk]; break;
      case Change::kBackward: held[stage] -= bytes.forward[chunk]; break;
      case Change::kInput: held[stage] -= bytes.forward[chunk] - bytes.weight_part[chunk]; break;
      case Change::kWeight: held[stage] -= bytes.weight_part[chunk]; break;
    }
    peak[stage] = std::max(peak[stage], held[stage]);
  });
}

}  // namespace moesim
