// FasterMoE's shadowing (PPoPP'22, section 4.2) with its cost put right: the busiest experts are shadowed on every device, as many as
// take the least time, over all prefixes of the list and not to the first that does not help (the time is not unimodal when two
// experts are equally hot). Loads after k shadows are recomputed by device: a shadowed expert's rows stay where they are made.
#include "sim/placement/greedy_placement.hpp"
#include "sim/placement/policies/policies.hpp"

#include <algorithm>

namespace moesim {
namespace {

class ShadowPolicy final : public PlacementPolicy {
 public:
  [[nodiscard]] std::string_view name() const override { return "shadow"; }
  [[nodiscard]] std::string_view description() const override {
    return "FasterMoE: the busiest experts broadcast to every device, in every micro-batch";
  }
  [[nodiscard]] PlacementDecision propose(const PlacementQuestion& question) const override {
    LayerTimer timer(question.model);
    PlacementDecision trial{question.current.placement, {}, TokenSplit::kLocality};
    std::vector<std::int32_t> best;
    Seconds least = timer.time(question.predicted, trial).total();
    const std::vector<double> loads = expert_totals(question.predicted);
    for (const std::int32_t expert : by_falling_load(loads)) {
      if (loads[static_cast<std::size_t>(expert)] <= 0) break;
      trial.shadowed.push_back(expert);
      const LayerTime time = timer.time(question.predicted, trial);
      if (time.rest >= least) break;  // more shadows alone take longer
      if (time.total() < least) least = time.total(), best = trial.shadowed;
    }
    std::sort(best.begin(), best.end());
    trial.shadowed = std::move(best);
    return trial;
  }
};

}  // namespace

const PlacementPolicy& shadow_policy() {
  static const ShadowPolicy kPolicy;
  return kPolicy;
}

}  // namespace moesim
