// Whether a schedule keeps its contract, and how many activations its order holds.
//
// An activation of (chunk, micro-batch) is held from its forward until its backward, with a split backward until the
// weight half. In a kForwardBackward slot the new activation stands beside the one that goes.
// Example: 1F1B with 4 stages and 8 micro-batches holds 4, 3, 2, 1 on its stages.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/error.hpp"
#include "sim/pipeline/compiled_pipeline.hpp"

namespace moesim {

// Complete, in order, free of deadlock; the error says which slot is not (see compiled_pipeline.hpp).
[[nodiscard]] Status check_slots(const PipelineSchedule& schedule, const PipelineShape& shape);

struct InFlight {
  std::vector<int> stage_peak;  // over all chunks of the stage together
  std::vector<int> chunk_peak;
};
[[nodiscard]] InFlight count_in_flight(const CompiledPipeline& pipeline);

// Bytes that one activation of each chunk takes, and what the weight half still needs after the input half.
// A chunk's stage peaks are sums over chunks that differ in size, so the bytes are walked, not the counts.
struct ActivationBytes {
  std::vector<std::int64_t> forward;      // by chunk
  std::vector<std::int64_t> weight_part;  // by chunk
};
// Peak bytes of each stage, written to `peak` (one entry per stage).
void activation_peaks(const CompiledPipeline& pipeline, const ActivationBytes& bytes, std::span<std::int64_t> peak);

}  // namespace moesim
