// A permutation found by swaps that the time of a once-a-node dispatcher judges (co_activation.hpp), from the best of the current
// placement, greedy's and neighbours together. It looks at which experts the last tokens chose together, so it needs token rows.
#include "sim/placement/co_activation.hpp"

#include <algorithm>

#include "sim/placement/greedy_placement.hpp"
#include "sim/placement/policies/policies.hpp"

namespace moesim {
namespace {

// A quarter as many candidates as there are ordered pairs of slots; the next decision goes on from what was found.
constexpr std::int64_t kPairsPerCandidate = 4;
constexpr std::int64_t kMostCandidates = 4096;

class CoActivationPolicy final : public PlacementPolicy {
 public:
  [[nodiscard]] std::string_view name() const override { return "co-activation"; }
  [[nodiscard]] std::string_view description() const override {
    return "A permutation by swaps that keeps experts together which tokens choose together";
  }
  [[nodiscard]] bool needs_tokens() const override { return true; }
  [[nodiscard]] PlacementDecision propose(const PlacementQuestion& question) const override {
    if (question.tokens == nullptr || question.tokens->size() == 0 || !question.current.placement.is_permutation())
      return question.current;
    const ExpertPlacement& current = question.current.placement;
    const LocalSearchOptions none{.candidates = 0};
    LocalSearchResult start = search_co_activation(question.model, question.predicted, *question.tokens, current, none);
    for (const ExpertPlacement& other : {greedy_placement(expert_totals(question.predicted), current, {}),
                                         ExpertPlacement::contiguous(current.sizes())}) {
      LocalSearchResult priced =
          search_co_activation(question.model, question.predicted, *question.tokens, other, none);
      if (priced.time < start.time) start = std::move(priced);
    }
    const std::int64_t slots = current.sizes().slots();
    const std::int64_t candidates = std::min(kMostCandidates, slots * slots / kPairsPerCandidate);
    LocalSearchResult found = search_co_activation(question.model, question.predicted, *question.tokens,
                                                   start.placement, {.candidates = candidates});
    return {std::move(found.placement), {}, TokenSplit::kLocality};
  }
};

}  // namespace

const PlacementPolicy& co_activation_policy() {
  static const CoActivationPolicy kPolicy;
  return kPolicy;
}

}  // namespace moesim
