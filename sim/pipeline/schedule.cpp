#include "sim/pipeline/schedule.hpp"

#include <fmt/format.h>

namespace moesim {

Status check_pipeline_shape(const PipelineSchedule& schedule, const PipelineShape& shape) {
  constexpr int kMostStages = 1 << 12, kMostMicroBatches = 1 << 20, kMostChunks = 1 << 10;
  if (shape.stages < 1 || shape.stages > kMostStages)
    return invalid_input(
        fmt::format("pipeline-model-parallel size is {}, expected 1 to {}", shape.stages, kMostStages));
  if (shape.micro_batches < 1 || shape.micro_batches > kMostMicroBatches)
    return invalid_input(
        fmt::format("{} micro-batches per step, expected 1 to {}", shape.micro_batches, kMostMicroBatches), {},
        "micro-batches = global batch / (micro-batch x dp)");
  if (shape.chunks_per_stage < 1 || shape.chunks_per_stage > kMostChunks)
    return invalid_input(
        fmt::format("{} model chunks per stage, expected 1 to {}", shape.chunks_per_stage, kMostChunks));
  const int held = schedule.chunks_per_stage(shape.chunks_per_stage);
  if (held != shape.chunks_per_stage)
    return invalid_input(fmt::format("pipeline schedule '{}' holds {} model chunk{} per stage, vpp is {}",
                                     schedule.name(), held, held == 1 ? "" : "s", shape.chunks_per_stage),
                         {}, fmt::format("set vpp to {}", held));
  constexpr std::int64_t kMostSlots = 1LL << 25;  // forwards and backwards of all stages: about 1 GB of slots
  const std::int64_t work = 2LL * shape.stages * shape.chunks_per_stage * shape.micro_batches;
  if (work > kMostSlots)
    return invalid_input(fmt::format("{} stages x {} chunks x {} micro-batches is more work than {} slots",
                                     shape.stages, shape.chunks_per_stage, shape.micro_batches, kMostSlots));
  return {};
}

int virtual_stages(const PipelineSchedule& schedule, const PipelineShape& shape) {
  return shape.stages * schedule.chunks_per_stage(shape.chunks_per_stage) / schedule.model_copies();
}

}  // namespace moesim
