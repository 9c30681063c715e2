// FasterMoE's shadowing (PPoPP'22, section 4.2) with its cost put right: the busiest experts are shadowed on every device, as many as
// take the least time, over all prefixes of the list and not to the first that does not help (the time is not unimodal when two
// experts are equally hot). Loads after k shadows are recomputed by device: a shadowed expert's rows stay where they are made.
#include <algorithm>

#include "sim/placement/greedy_placement.hpp"
#include "sim/placement/incremental_time.hpp"
#include "sim/placement/policies/policies.hpp"

namespace moesim {
namespace {

class ShadowPolicy final : public PlacementPolicy {
 public:
  [[nodiscard]] std::string_view name() const override { return "shadow"; }
  [[nodiscard]] std::string_view description() const override {
    return "FasterMoE: the busiest experts broadcast to every device, in every micro-batch";
  }
  [[nodiscard]] PlacementDecision propose(const PlacementQuestion& question) const override {
    PlacementDecision proposal{question.current.placement, {}, TokenSplit::kLocality};
    IncrementalLayerTime layer(question.model, question.predicted, proposal.placement);
    Seconds least = layer.time();
    std::vector<std::int32_t> tried;
    std::size_t best = 0;
    const std::vector<double> loads = expert_totals(question.predicted);
    for (const std::int32_t expert : by_falling_load(loads)) {
      // More shadows alone would take longer.
      if (question.model.fixed + question.model.shadow * static_cast<double>(tried.size() + 1) >= least) break;
      if (loads[static_cast<std::size_t>(expert)] <= 0) break;
      layer.shadow(proposal.placement.slots_of(expert).front());
      tried.push_back(expert);
      if (const Seconds time = layer.time(); time < least) least = time, best = tried.size();
    }
    proposal.shadowed.assign(tried.begin(), tried.begin() + static_cast<std::ptrdiff_t>(best));
    std::sort(proposal.shadowed.begin(), proposal.shadowed.end());
    return proposal;
  }
};

}  // namespace

const PlacementPolicy& shadow_policy() {
  static const ShadowPolicy kPolicy;
  return kPolicy;
}

}  // namespace moesim
