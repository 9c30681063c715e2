// EPLB's copies, but the tokens of every micro-batch are divided over them as evenly as they allow (min_max_split.hpp): what LPLB
// and MicroMoE solve a linear program for, and the lower bound of the load under these copies.
#include "sim/placement/eplb.hpp"
#include "sim/placement/policies/policies.hpp"

namespace moesim {
namespace {

class LpSplitPolicy final : public PlacementPolicy {
 public:
  [[nodiscard]] std::string_view name() const override { return "lp-split"; }
  [[nodiscard]] std::string_view description() const override {
    return "EPLB's copies, tokens divided over them at their best in every micro-batch";
  }
  [[nodiscard]] PlacementDecision propose(const PlacementQuestion& question) const override {
    return {eplb_placement(expert_totals(question.predicted), {.placement = question.current.placement.sizes()}),
            {},
            TokenSplit::kMinMax};
  }
};

}  // namespace

const PlacementPolicy& lp_split_policy() {
  static const LpSplitPolicy kPolicy;
  return kPolicy;
}

}  // namespace moesim
