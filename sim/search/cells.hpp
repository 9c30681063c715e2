// The skeletons of a search space: how a layout cuts the model, before schedules, recomputation and ZeRO.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/lower/moe_schedule.hpp"
#include "sim/search/search.hpp"

namespace moesim {

struct Cell {
  ParallelSizes sizes;  // vpp stays 1 here; ep_on_node is that of the cluster where the MoE schedule asks for it
  int micro_batch = 1;
  const MoeSchedule* moe_schedule = nullptr;
  int moe_degree = 1;
  int moe_backward_degree = 0;  // as a plan's: 0 where it is that of the forward pass
  int moe_shadows = 0;
  ExchangeAlgorithm all_to_all = ExchangeAlgorithm::kLinear;
};

struct CellList {
  std::vector<Cell> cells;        // in the order of the space
  std::int64_t combinations = 0;  // all of the space's skeletons, the impossible ones included
};

// Counts what is impossible in `pruned`, each with `weight` (the plans that one skeleton stands for). An error: a name in
// the space that no MoE schedule has.
[[nodiscard]] Result<CellList> enumerate_cells(const ModelShape& model, const SearchSpace& space,
                                               const ClusterView& view, std::int64_t weight, Certificate& certificate);

}  // namespace moesim
