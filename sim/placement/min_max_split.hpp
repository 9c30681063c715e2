// How to divide the tokens of each expert over its copies so that the busiest device has as few as possible: the lower bound
// of every scheme with these copies (the linear program of LPLB and MicroMoE, without its solver).
//
// Exact: with z copies allowed on a device the division exists when a flow from experts to devices carries everything; when it
// does not, the minimum cut names devices D and the load R that has nowhere else to go, z is raised to R / |D|, and the flow goes on
// (discrete Newton method, at most as many rounds as there are devices). Real numbers; what is below 1e-9 of the whole is none.
// Worked: loads {9, 1, 2}, expert 0 on devices 0 and 1, expert 1 on 1, expert 2 on 2: z starts at 4, but {0, 1} have to take 10:
// z = 5, expert 0 is divided 5 : 4.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/placement/expert_placement.hpp"

namespace moesim {

class MinMaxSplit {
 public:
  // Divides totals[expert]; returns the load of the busiest device. Keeps its scratch from call to call.
  double divide(const ExpertPlacement& placement, std::span<const double> totals);
  // Token copies that each slot takes, after divide(). Of several copies on one device the first takes all.
  [[nodiscard]] std::span<const double> per_slot() const { return per_slot_; }

 private:
  struct Edge {
    std::int32_t device = 0;
    std::int32_t slot = 0;
    double flow = 0;
  };
  // An expert with copies on more than one device.
  struct Divided {
    std::int32_t expert = 0;
    std::int32_t first_edge = 0;
    std::int32_t last_edge = 0;
    double left = 0;  // not yet placed
  };
  void prepare(const ExpertPlacement& placement, std::span<const double> totals);
  void augment(double level);
  bool augment_from(std::size_t divided, double level);
  [[nodiscard]] double raised_level(double level) const;

  double nothing_ = 0;         // below this a load counts as none
  std::vector<double> fixed_;  // [device], of experts that stand on one device only
  std::vector<double> used_;   // [device], flow
  std::vector<Divided> divided_;
  std::vector<Edge> edges_;
  std::vector<std::vector<std::int32_t>> edges_into_;  // [device], edges of divided experts
  std::vector<std::int32_t> owner_;                    // [edge], its place in divided_
  std::vector<double> per_slot_;
  // Of the last search: by which edge a device, and from which device an expert was reached; -1: it was not.
  std::vector<std::int32_t> device_reached_by_;
  std::vector<std::int32_t> expert_reached_from_;
  std::vector<std::int32_t> queue_;
};

}  // namespace moesim
