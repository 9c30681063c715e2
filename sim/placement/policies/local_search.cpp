// A permutation found by swaps that the time itself judges (local_search.hpp), from the better of the current placement and greedy's.
#include "sim/placement/local_search.hpp"

#include "sim/placement/greedy_placement.hpp"
#include "sim/placement/policies/policies.hpp"

namespace moesim {
namespace {

constexpr std::int64_t kCandidatesPerSlot = 16;

class LocalSearchPolicy final : public PlacementPolicy {
 public:
  [[nodiscard]] std::string_view name() const override { return "local-search"; }
  [[nodiscard]] std::string_view description() const override {
    return "A permutation by swaps that the time of ports and devices judges";
  }
  [[nodiscard]] PlacementDecision propose(const PlacementQuestion& question) const override {
    const ExpertPlacement& current = question.current.placement;
    const ExpertPlacement greedy = greedy_placement(expert_totals(question.predicted), current, {});
    LayerTimer timer(question.model);
    const auto time = [&](const ExpertPlacement& placement) {
      return timer.time(question.predicted, {placement, {}, TokenSplit::kLocality}).total();
    };
    const ExpertPlacement& start = time(greedy) < time(current) ? greedy : current;
    LocalSearchResult found = search_placement(question.model, question.predicted, start,
                                               {.candidates = kCandidatesPerSlot * current.sizes().slots()});
    return {std::move(found.placement), {}, TokenSplit::kLocality};
  }
};

}  // namespace

const PlacementPolicy& local_search_policy() {
  static const LocalSearchPolicy kPolicy;
  return kPolicy;
}

}  // namespace moesim
