// SmartMoE's online placement: greedy_placement.hpp, slots kept stable.
#include "sim/placement/greedy_placement.hpp"
#include "sim/placement/policies/policies.hpp"

namespace moesim {
namespace {

class GreedyPolicy final : public PlacementPolicy {
 public:
  [[nodiscard]] std::string_view name() const override { return "greedy"; }
  [[nodiscard]] std::string_view description() const override {
    return "SmartMoE: a permutation, busiest expert to the least loaded device";
  }
  [[nodiscard]] PlacementDecision propose(const PlacementQuestion& question) const override {
    return {
        greedy_placement(expert_totals(question.predicted), question.current.placement, {}), {}, TokenSplit::kLocality};
  }
};

}  // namespace

const PlacementPolicy& greedy_policy() {
  static const GreedyPolicy kPolicy;
  return kPolicy;
}

}  // namespace moesim
