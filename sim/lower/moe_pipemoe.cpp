// Two-way pipelining of PipeMoE (INFOCOM 2023) and Tutel (MLSys 2023, section 4.3): the copies are cut into r chunks along the
// capacity, and while the experts compute one chunk another is exchanged. All chunks go out before the first comes back:
// D1 ... Dr, C1 ... Cr on the network, E1 ... Er on the device. Which r is best PipeMoE reads off its closed form
// (models/cost/closed/pipemoe.hpp); here a search plays them.
#include "sim/lower/moe_pipemoe.hpp"

#include "sim/lower/moe_megatron_a2a.hpp"

namespace moesim {
namespace {

class PipeMoe final : public MoeSchedule {
 public:
  std::string_view name() const override { return "pipemoe"; }
  std::string_view description() const override {
    return "PipeMoE, Tutel: chunks of copies, one exchanged while another is computed (INFOCOM 2023, MLSys 2023)";
  }
  Status check(const Plan& plan, const MoeShape& shape) const override {
    if (plan.sizes().esp > 1)
      return usage_error(
          "pipemoe overlaps two things, the all-to-all and whole experts, and knows no shards of experts",
          "set esp to 1, or take fsmoe");
    return megatron_a2a().check(plan, shape);
  }
  std::vector<int> degrees(const Plan& plan) const override {
    return plan.sizes().ep > 1 ? std::vector<int>{2, 4, 8, 1} : std::vector<int>{1};
  }
  std::string_view same_as(const Plan& plan, const MoeShape&) const override {
    return is_in_one_piece(*this, plan) ? megatron_a2a().name() : std::string_view{};
  }

  TensorId forward(MoeLayerBuilder& b, TensorId x) const override {
    if (b.degree() == 1) return megatron_a2a().forward(b, x);
    const TensorId gate = b.gate(x);
    std::vector<RoutedTokens> pieces = b.cut(b.permute(x, gate), CutBy::kShare, b.degree());
    for (RoutedTokens& piece : pieces) piece = b.dispatch(piece, GroupKind::kEp);
    std::vector<TensorId> results;
    for (const RoutedTokens& piece : pieces) results.push_back(b.combine(b.experts_of_arrived(piece), GroupKind::kEp));
    return b.add_shared_experts(b.unpermute(b.join(results), gate), x);
  }
};

}  // namespace

const MoeSchedule& pipemoe() {
  static const PipeMoe schedule;
  return schedule;
}

}  // namespace moesim
