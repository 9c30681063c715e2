// The program that the engine's benchmarks play: MoE training steps of many ranks, 1F1B over the pipeline.
#pragma once

#include "sim/engine/replay_program.hpp"

namespace moesim::bench {

struct PipelineShape {
  int stages = 8;
  int ranks_per_stage = 8;  // each an entity; they form the EP and DP groups of the stage, pairs of them the TP groups
  int micro_batches = 32;
  int layers = 4;  // per stage; each has 5 operations forward and 7 backward
};

// All durations differ from rank to rank a little, as those of imbalanced experts do, so that ends rarely coincide.
[[nodiscard]] ReplayProgram pipeline_program(const PipelineShape& shape);

}  // namespace moesim::bench
