// One layer under every schedule in every number of pieces, and what Parm's rule says of it.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "models/cost/closed/parm.hpp"
#include "sim/layer/one_layer.hpp"
#include "sim/layer/play_layer.hpp"
#include "sim/lower/moe_schedule.hpp"

namespace moesim {

// What numbers of pieces make of a layer (MoeSchedule::degrees).
struct DegreeOutcome {
  int degree = 1;
  int backward_degree = 1;
  int shadows = 0;  // the best number of shadowed experts with it (shadow_counts.hpp)
  LayerTimes times;
  Seconds exposed_communication;
  Bytes peak_memory;
  bool fits = false;
};

struct ScheduleOutcome {
  const MoeSchedule* schedule = nullptr;
  std::string refused;  // why it cannot run this layer; empty: it can
  // All numbers that it can run it in, in the schedule's order, the same for both passes; then the pairs that could be faster
  // (degree_pairs.hpp).
  std::vector<DegreeOutcome> degrees;
  int degree = 1;  // the fastest of those that fit, or of all where none does
  int backward_degree = 1;
  int shadows = 0;           // with it
  std::string_view same_as;  // another schedule whose program is the same here; empty: none
  LayerResult result;        // where it can, in this degree
  Program program;
};

// In the order of `schedules`. An error only where a schedule is at fault.
[[nodiscard]] Result<std::vector<ScheduleOutcome>> compare_schedules(const LayerCase& layer, const CostModel& costs,
                                                                     std::span<const MoeSchedule* const> schedules,
                                                                     const LayerOptions& options);

// A layer under a schedule with its token exchanges by one of the algorithms.
struct ExchangeOutcome {
  std::size_t schedule = 0;  // place among the outcomes
  ExchangeAlgorithm algorithm = ExchangeAlgorithm::kLinear;
  LayerTimes times;
  Seconds exposed_communication;
};
// Every schedule of `outcomes` that can run the layer and exchanges copies, under every algorithm, in that order.
[[nodiscard]] Result<std::vector<ExchangeOutcome>> compare_exchanges(const LayerCase& layer, const CostModel& costs,
                                                                     std::span<const ScheduleOutcome> outcomes,
                                                                     const LayerOptions& options);

inline constexpr std::string_view kParmS1 = "parm-s1";
inline constexpr std::string_view kParmS2 = "parm-s2";
// Stands beside every comparison of the two.
inline constexpr std::string_view kReplayOfS2 =
    "the replayed parm-s2 exchanges and gathers in the number of pieces that suits it best, each with latencies of its "
    "own and copied apart and together again; the closed form counts neither";
[[nodiscard]] inline std::string_view choice_name(ParmChoice choice) {
  return choice == ParmChoice::kS1 ? kParmS1 : kParmS2;
}

// Parm's closed form on the laws of a cluster: a line is fitted through each law at the sizes that the authors' nccl-tests used, 1
// to 24 MiB in steps of 1 MiB, for the groups of this layout. One rule serves all layers of a layout.
class ParmRule {
 public:
  ParmRule(const CostModel& costs, const Layout& layout);
  [[nodiscard]] ParmTimes times(const LayerCase& layer, LayerPasses passes) const;
  // Without the experts, which are the same for both schedules.
  [[nodiscard]] const ParmCosts& costs() const { return lines_; }

 private:
  ParmCosts lines_;
  int ranks_ = 1;
};

// A layer's sizes in the symbols of the paper. With a capacity the buffer is padded to it.
[[nodiscard]] ParmLayer parm_layer_of(const LayerCase& layer);

}  // namespace moesim
