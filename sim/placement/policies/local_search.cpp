// A permutation found by swaps that the time itself judges (local_search.hpp), from the better of the current placement and greedy's;
// no search where that is within 1 % of what no permutation can beat.
#include "sim/placement/local_search.hpp"

#include <algorithm>

#include "sim/placement/greedy_placement.hpp"
#include "sim/placement/policies/policies.hpp"

namespace moesim {
namespace {

// A 24th as many candidates as there are ordered pairs of slots; the next decision goes on from what was found.
constexpr std::int64_t kPairsPerCandidate = 24;
constexpr std::int64_t kMostCandidates = 4096;
constexpr double kNearEnough = 1.01;

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
    const Seconds of_greedy = time(greedy);
    const Seconds of_current = time(current);
    const ExpertPlacement& start = of_greedy < of_current ? greedy : current;
    if (std::min(of_greedy, of_current) <= kNearEnough * least_time_without_copies(question.model, question.predicted))
      return {start, {}, TokenSplit::kLocality};
    const std::int64_t slots = current.sizes().slots();
    const std::int64_t candidates = std::min(kMostCandidates, slots * slots / kPairsPerCandidate);
    LocalSearchResult found = search_placement(question.model, question.predicted, start, {.candidates = candidates});
    return {std::move(found.placement), {}, TokenSplit::kLocality};
  }
};

}  // namespace

const PlacementPolicy& local_search_policy() {
  static const LocalSearchPolicy kPolicy;
  return kPolicy;
}

}  // namespace moesim
