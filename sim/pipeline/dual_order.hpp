// The order that DualPipe and DualPipeV share (DeepSeek-V3, arXiv 2412.19437, figure 5; github.com/deepseek-ai/DualPipe).
//
// A stage serves two flows: `near`, which enters the pipeline at the nearer end, and `far`. Seen from the nearer end
// DualPipe's p stages are two mirrored halves of p/2 stages; DualPipeV is one such half with the V's turn in place of the mirror.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/pipeline/schedule.hpp"

namespace moesim {

struct DualFlow {
  std::int32_t chunk = 0;  // the stage's chunk in this flow
  std::int32_t first_micro_batch = 0;
};

struct DualStage {
  int depth = 0;          // stages between this one and the nearer end
  int half_stages = 1;    // stages from an end to the middle
  int micro_batches = 0;  // of each flow; at least 2 * half_stages
  DualFlow near;
  DualFlow far;
};

[[nodiscard]] std::vector<Slot> dual_order(const DualStage& stage);

}  // namespace moesim
