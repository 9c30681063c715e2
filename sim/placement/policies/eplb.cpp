// EPLB (eplb.hpp), over all devices at once or inside nodes; tokens are divided evenly over copies, as it plans for.
#include "sim/placement/eplb.hpp"

#include <algorithm>

#include "sim/placement/policies/policies.hpp"

namespace moesim {
namespace {

int nodes_of(const LayerTimeModel& model) {
  int nodes = 1;
  for (std::size_t d = 1; d < model.node_of_device.size(); ++d)
    nodes += model.node_of_device[d] != model.node_of_device[d - 1] ? 1 : 0;
  return nodes;
}

class EplbGlobalPolicy final : public PlacementPolicy {
 public:
  [[nodiscard]] std::string_view name() const override { return "eplb-global"; }
  [[nodiscard]] std::string_view description() const override {
    return "EPLB over all devices: copies of the busiest experts in every spare slot";
  }
  [[nodiscard]] PlacementDecision propose(const PlacementQuestion& question) const override {
    return {eplb_placement(expert_totals(question.predicted), {.placement = question.current.placement.sizes()}),
            {},
            TokenSplit::kEven};
  }
};

class EplbHierarchicalPolicy final : public PlacementPolicy {
 public:
  [[nodiscard]] std::string_view name() const override { return "eplb-hierarchical"; }
  [[nodiscard]] std::string_view description() const override {
    return "EPLB with groups of experts kept on one node, copies inside it";
  }
  // Without groups of its own an expert is a group.
  [[nodiscard]] PlacementDecision propose(const PlacementQuestion& question) const override {
    const PlacementSizes& sizes = question.current.placement.sizes();
    const int groups = question.expert_groups > 0 ? question.expert_groups : sizes.experts;
    return {eplb_placement(expert_totals(question.predicted),
                           {.placement = sizes, .groups = groups, .nodes = nodes_of(question.model)}),
            {},
            TokenSplit::kEven};
  }
};

}  // namespace

const PlacementPolicy& eplb_global_policy() {
  static const EplbGlobalPolicy kPolicy;
  return kPolicy;
}

const PlacementPolicy& eplb_hierarchical_policy() {
  static const EplbHierarchicalPolicy kPolicy;
  return kPolicy;
}

}  // namespace moesim
