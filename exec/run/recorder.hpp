// What the gates of a training chose, collected on each rank and put together as a trace (traces/selection_trace.hpp): one row
// for each recorded step, MoE layer, micro-batch and source rank.
#pragma once

#include <cstdint>
#include <vector>

#include "exec/run/rank_context.hpp"
#include "traces/rows.hpp"

namespace moesim {

// A recorded row with its own numbers.
struct ChoiceRow {
  RowKey key;
  std::vector<std::uint32_t> counts;  // by expert
};

// Mean over the layers of the busiest expert's share over the average one, by step, ascending. 1: every expert equally often.
struct StepImbalance {
  std::int64_t step = 0;
  double imbalance = 1;
};

class ChoiceRecorder {
 public:
  // After a step; its choices are those of the rank's context.
  void take(std::int64_t step, const RankContext& rank);
  // The rows of all ranks in the order of their keys, on each rank.
  [[nodiscard]] Result<std::vector<ChoiceRow>> gather(Communicator& comm) const;

 private:
  std::vector<std::int32_t> numbers_;  // step, layer, micro-batch, source, experts, counts ...
};

[[nodiscard]] std::vector<StepImbalance> imbalance_by_step(const std::vector<ChoiceRow>& rows);

}  // namespace moesim
