// Why a plan's MoE schedule: the same plan under every schedule that can run it, in every number of pieces (one for both passes, but
// for the plan as it is) and, with a trace, with a few shadowed experts (few_shadows) where it shadows any.
//
// Everything else stays as it is: layout, pipeline, recomputation, ZeRO, precision, loads. Of programs that are the same the first
// listed counts. `fits` says whether the memory of today is enough for it.
#pragma once

#include <string>
#include <vector>

#include "base/error.hpp"
#include "sim/simulate/step.hpp"

namespace moesim {

struct MoeAlternative {
  std::string schedule;
  int degree = 1;  // pieces that it cuts copies into
  int backward_degree = 1;
  int shadows = 0;   // experts of each layer that it shadows
  bool own = false;  // the plan's
  StepMetrics metrics;
};

// Fastest first, each schedule in the number of pieces and of shadowed experts that is fastest, and the plan as it is.
[[nodiscard]] Result<std::vector<MoeAlternative>> moe_alternatives(const Plan& plan, const ModelShape& model,
                                                                   const CostModel& costs, const LoadMapper* trace);

// What `a` does in another time than `b`, in the order of how much, in one line: "dispatch and combine exposed 1.20 ms less,
// tensor-parallel communication exposed 0.31 ms more". Of what changes by less than a twentieth of the most it says nothing.
[[nodiscard]] std::string difference_text(const StepMetrics& a, const StepMetrics& b);

}  // namespace moesim
