// From what the gate chose to who computes what and who sends what to whom, under a placement.
//
// Conservation: every copy of every token reaches exactly one slot of its expert, or is computed where it is when the expert is
// shadowed. Copies are divided as real numbers.
// Worked: 2 devices, experts 0 | 1, counts {{6, 2}, {3, 5}}: slot 0 gets {6, 3}, slot 1 {2, 5}; device 0 computes 9 rows, sends 2
// and receives 3.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/placement/counts.hpp"
#include "sim/placement/decision.hpp"
#include "sim/placement/min_max_split.hpp"

namespace moesim {

struct RoutedCopies {
  int devices = 0;
  int slots_per_device = 0;
  std::vector<double> to_slot;        // [slot][source]
  std::vector<double> shadowed_rows;  // [device], its own tokens for shadowed experts
  int shadowed = 0;                   // experts

  [[nodiscard]] std::span<const double> into(int device, int slot_of_device) const {
    return std::span<const double>(to_slot).subspan(
        (static_cast<std::size_t>(device) * static_cast<std::size_t>(slots_per_device) +
         static_cast<std::size_t>(slot_of_device)) *
            static_cast<std::size_t>(devices),
        static_cast<std::size_t>(devices));
  }
};
// Rows that each device computes.
[[nodiscard]] std::vector<double> device_rows(const RoutedCopies& copies);
// [from][to]; the diagonal is what stays.
[[nodiscard]] std::vector<double> copy_matrix(const RoutedCopies& copies);

// Busiest device over the mean. 1 where nothing is routed.
[[nodiscard]] double max_over_mean(std::span<const double> rows);

class TokenRouter {
 public:
  // The node of each device of the EP group.
  explicit TokenRouter(std::vector<std::int32_t> node_of_device) : node_of_device_(std::move(node_of_device)) {}
  // Good until the next call. Sources of `counts` are the devices of the placement.
  const RoutedCopies& route(const RecordedCounts& counts, const PlacementDecision& decision);
  const RoutedCopies& route(const PredictedCounts& counts, const PlacementDecision& decision);

 private:
  template <class Count>
  const RoutedCopies& route_any(const CountsView<Count>& counts, const PlacementDecision& decision);
  template <class Count>
  void to_one_slot(const CountsView<Count>& counts, int expert, std::int32_t slot);
  template <class Count>
  void to_copies(const CountsView<Count>& counts, int expert, const PlacementDecision& decision);
  template <class Count>
  void to_shares(const CountsView<Count>& counts, int expert, const ExpertPlacement& placement);
  double& cell(std::int32_t slot, int source) {
    return copies_.to_slot[static_cast<std::size_t>(slot) * static_cast<std::size_t>(copies_.devices) +
                           static_cast<std::size_t>(source)];
  }

  std::vector<std::int32_t> node_of_device_;
  RoutedCopies copies_;
  std::vector<bool> is_shadowed_;
  MinMaxSplit split_;
  std::vector<double> totals_;
};

}  // namespace moesim
