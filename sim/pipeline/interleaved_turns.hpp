// The order in which a stage takes up its chunks when they are interleaved (Megatron-LM, arXiv 2104.04473): p micro-batches
// through the first chunk, the same p through the next, and so on; backwards from the last chunk. With one chunk this is the order
// of the micro-batches. Example, p = 2, v = 2: forwards 0/0, 0/1, 1/0, 1/1, 0/2, 0/3, ... as chunk/micro-batch.
#pragma once

#include "sim/pipeline/schedule.hpp"

namespace moesim {

struct InterleavedTurn {
  std::int32_t chunk = 0;  // virtual stage, in model order
  std::int32_t micro_batch = 0;
};

// The k-th forward of a stage.
[[nodiscard]] inline InterleavedTurn forward_turn(int k, int stage, const PipelineShape& shape) {
  const int p = shape.stages, per_round = p * shape.chunks_per_stage;
  return {k % per_round / p * p + stage, k / per_round * p + k % p};
}

// And its k-th backward.
[[nodiscard]] inline InterleavedTurn backward_turn(int k, int stage, const PipelineShape& shape) {
  const InterleavedTurn mirrored = forward_turn(k, stage, shape);
  return {(shape.chunks_per_stage - 1 - mirrored.chunk / shape.stages) * shape.stages + stage, mirrored.micro_batch};
}

}  // namespace moesim
