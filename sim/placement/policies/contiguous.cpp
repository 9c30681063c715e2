// Neighbouring experts on neighbouring devices, for good: what FastMoE, DeepSpeed and Megatron do.
#include "sim/placement/policies/policies.hpp"

namespace moesim {
namespace {

class ContiguousPolicy final : public PlacementPolicy {
 public:
  [[nodiscard]] std::string_view name() const override { return "contiguous"; }
  [[nodiscard]] std::string_view description() const override { return "Neighbouring experts together, never moved"; }
  [[nodiscard]] PlacementDecision propose(const PlacementQuestion& question) const override {
    return {ExpertPlacement::contiguous(question.current.placement.sizes()), {}, TokenSplit::kLocality};
  }
};

}  // namespace

const PlacementPolicy& contiguous_policy() {
  static const ContiguousPolicy kPolicy;
  return kPolicy;
}

}  // namespace moesim
