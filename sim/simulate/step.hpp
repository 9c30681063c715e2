// One training step under a plan: lower, price, replay, and say what came out.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "models/cost/cost_model.hpp"
#include "sim/engine/price.hpp"
#include "sim/engine/replay.hpp"
#include "sim/memory/memory_walk.hpp"
#include "sim/program/program.hpp"
#include "traces/remap.hpp"

namespace moesim {

struct StepOptions {
  PriceOptions price;
  // Distinct micro-batches taken from the trace (at most kMostVariants); 1 pools them, as the ranking does.
  int micro_batch_variants = 1;
  std::shared_ptr<const RoutedLoads> loads;  // when already at hand; else made from the trace
  ReplayOptions replay;
};

// Where the time of the slowest stage goes. compute[c] + exposed[c] summed over all categories is the step time, except
// for what `other` holds (start-up and the wait at the end).
struct StepBreakdown {
  StageId stage;
  std::array<Seconds, kCategories> compute{};  // the compute stream runs an operation of this category
  std::array<Seconds, kCategories> exposed{};  // it idles for communication of this category (kPpComm: bubble)
  Seconds other;
};

struct StepMetrics {
  Seconds step_time;
  double tokens_per_second_per_gpu = 0;
  double model_flops_per_second_per_gpu = 0;
  double mfu = 0;     // of the peak of the precision's GEMM format
  Bytes peak_memory;  // of the fullest stage, without the framework's reserve
  bool fits = false;
  double bubble_fraction = 0;        // mean over stages of idle time for neighbouring stages
  double expert_imbalance = 0;       // mean over MoE layers of busiest / average rank rows; 1: balanced
  double extrapolated_fraction = 0;  // of priced operations outside their law's fitted range
  StepBreakdown breakdown;
};

struct SimulatedStep {
  Program program;
  PricedProgram priced;
  ReplayResult replay;
  MemoryReport memory;
  StepMetrics metrics;
  std::vector<std::string> notes;
};

// Loads for this plan: from the trace, or balanced without one. Also applies the capacity factor.
[[nodiscard]] Result<std::shared_ptr<const RoutedLoads>> loads_for(const Plan& plan, const ModelShape& model,
                                                                   const LoadMapper* trace, int micro_batch_variants);

// Checks the plan, then simulates it. An error when the plan is wrong; a program that cannot finish is an internal error
// that names the waiting operations.
[[nodiscard]] Result<SimulatedStep> simulate_step(const Plan& plan, const ModelShape& model, const CostModel& costs,
                                                  const LoadMapper* trace, const StepOptions& options);

// The same in two parts: lowered and its memory followed, which says whether it fits; then priced and replayed.
[[nodiscard]] Result<SimulatedStep> prepare_step(const Plan& plan, const ModelShape& model, const CostModel& costs,
                                                 const LoadMapper* trace, const StepOptions& options);
[[nodiscard]] Status play_step(SimulatedStep& step, const CostModel& costs, const StepOptions& options);

// Which devices lack the format that the recipe computes in, and what they are priced with.
[[nodiscard]] std::vector<std::string> precision_notes(const ClusterView& view, const PrecisionRecipe& recipe);

[[nodiscard]] StepMetrics summarize(const Program& program, const PricedProgram& priced, const ReplayResult& replay,
                                    const MemoryReport& memory, const CostModel& costs);

}  // namespace moesim
