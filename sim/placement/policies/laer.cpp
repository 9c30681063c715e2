// LAER-MoE's planner (ASPLOS'26): any experts in the slots of a device, tokens to the copies on their own node where there are any.
//
// Two candidates, as in its solver: copies by a priority queue (the expert with the most load per copy gets the next), and as even
// a number of copies as the slots allow, the rest to the busiest. Copies are placed heaviest first on the least loaded device
// that has room and does not hold the expert, nodes without a copy of it before others. The better by its objective wins: all devices'
// communication added up, and the busiest computation.
#include <algorithm>

#include "sim/placement/greedy_placement.hpp"
#include "sim/placement/policies/policies.hpp"

namespace moesim {
namespace {

std::vector<int> copies_by_queue(const std::vector<double>& loads, const PlacementSizes& sizes) {
  std::vector<int> copies(loads.size(), 1);
  for (int left = sizes.slots() - sizes.experts; left > 0; --left) {
    std::size_t most = loads.size();
    for (std::size_t e = 0; e < loads.size(); ++e)
      if (copies[e] < sizes.devices && (most == loads.size() || loads[e] / copies[e] > loads[most] / copies[most]))
        most = e;
    if (most == loads.size()) break;  // everything is everywhere
    ++copies[most];
  }
  return copies;
}

std::vector<int> even_copies(const std::vector<double>& loads, const PlacementSizes& sizes) {
  const int even = std::min(sizes.devices, sizes.slots() / sizes.experts);
  std::vector<int> copies(loads.size(), even);
  int left = sizes.slots() - even * sizes.experts;
  for (const std::int32_t e : by_falling_load(loads))
    if (left > 0 && copies[static_cast<std::size_t>(e)] < sizes.devices) ++copies[static_cast<std::size_t>(e)], --left;
  return copies;
}

// Places copies one by one; with the number of copies of one expert below that of devices there is always a device for it, or one
// that holds the expert already takes the copy.
class CopyPlacer {
 public:
  CopyPlacer(const PlacementSizes& sizes, const std::vector<std::int32_t>& node_of_device)
      : sizes_(sizes),
        node_of_device_(node_of_device),
        slots_(static_cast<std::size_t>(sizes.slots()), kEmptySlot),
        used_(static_cast<std::size_t>(sizes.devices), 0),
        load_(static_cast<std::size_t>(sizes.devices), 0.0) {}

  void place(std::int32_t expert, int copies, double load_each) {
    std::vector<int> on_node(node_of_device_.size(), 0);  // copies of this expert on the node of each device
    std::vector<bool> held(node_of_device_.size(), false);
    for (int copy = 0; copy < copies; ++copy) {
      std::size_t chosen = used_.size();
      for (std::size_t d = 0; d < used_.size(); ++d) {
        if (used_[d] == sizes_.slots_per_device) continue;
        if (chosen == used_.size() || key(held, on_node, d) < key(held, on_node, chosen)) chosen = d;
      }
      slots_[chosen * static_cast<std::size_t>(sizes_.slots_per_device) + static_cast<std::size_t>(used_[chosen]++)] =
          expert;
      load_[chosen] += load_each;
      held[chosen] = true;
      for (std::size_t d = 0; d < on_node.size(); ++d)
        on_node[d] += node_of_device_[d] == node_of_device_[chosen] ? 1 : 0;
    }
  }
  [[nodiscard]] ExpertPlacement finish() && {
    Result<ExpertPlacement> placement = ExpertPlacement::make(sizes_, std::move(slots_));
    MOESIM_ASSERT(placement.has_value());
    return std::move(*placement);
  }

 private:
  [[nodiscard]] std::tuple<bool, int, double> key(const std::vector<bool>& held, const std::vector<int>& on_node,
                                                  std::size_t d) const {
    return {held[d], on_node[d], load_[d]};
  }

  PlacementSizes sizes_;
  const std::vector<std::int32_t>& node_of_device_;
  std::vector<std::int32_t> slots_;
  std::vector<int> used_;
  std::vector<double> load_;
};

ExpertPlacement placed(const std::vector<double>& loads, const std::vector<int>& copies,
                       const PlacementQuestion& question) {
  std::vector<double> each(loads.size());
  for (std::size_t e = 0; e < loads.size(); ++e) each[e] = loads[e] / copies[e];
  CopyPlacer placer(question.current.placement.sizes(), question.model.node_of_device);
  for (const std::int32_t e : by_falling_load(each))
    placer.place(e, copies[static_cast<std::size_t>(e)], each[static_cast<std::size_t>(e)]);
  return std::move(placer).finish();
}

// Bytes times the seconds of the sender's port, added up over devices, and the busiest device's computation.
Seconds laer_objective(const PlacementQuestion& question, TokenRouter& router, const PlacementDecision& decision) {
  const LayerTimeModel& model = question.model;
  const RoutedCopies& copies = router.route(question.predicted, decision);
  const std::vector<double> matrix = copy_matrix(copies);
  const auto n = static_cast<std::size_t>(model.devices());
  double seconds = 0;
  for (std::size_t from = 0; from < n; ++from)
    for (std::size_t to = 0; to < n; ++to) {
      if (from == to) continue;
      const auto tier = static_cast<std::size_t>(model.meeting_tier(static_cast<int>(from), static_cast<int>(to)));
      const auto port = static_cast<std::size_t>(model.tiers[tier].port_of_device[from]);
      seconds += matrix[from * n + to] * model.row.value() * model.tiers[tier].out_s_per_byte[port];
    }
  double busiest = 0;
  const std::vector<double> rows = device_rows(copies);
  for (std::size_t d = 0; d < n; ++d) busiest = std::max(busiest, rows[d] / model.speed[d]);
  return Seconds(model.exchanges * seconds + model.compute.at(busiest));
}

class LaerPolicy final : public PlacementPolicy {
 public:
  [[nodiscard]] std::string_view name() const override { return "laer"; }
  [[nodiscard]] std::string_view description() const override {
    return "LAER-MoE: any experts in any slots, tokens to the copies of their own node";
  }
  [[nodiscard]] PlacementDecision propose(const PlacementQuestion& question) const override {
    const PlacementSizes& sizes = question.current.placement.sizes();
    const std::vector<double> loads = expert_totals(question.predicted);
    TokenRouter router(question.model.node_of_device);
    PlacementDecision queue{placed(loads, copies_by_queue(loads, sizes), question), {}, TokenSplit::kLocality};
    PlacementDecision even{placed(loads, even_copies(loads, sizes), question), {}, TokenSplit::kLocality};
    const Seconds of_queue = laer_objective(question, router, queue);
    return laer_objective(question, router, even) < of_queue ? even : queue;
  }
};

}  // namespace

const PlacementPolicy& laer_policy() {
  static const LaerPolicy kPolicy;
  return kPolicy;
}

}  // namespace moesim
