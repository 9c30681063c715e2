// FSMoE (ASPLOS 2025): three-way pipelining. Copies cut into r chunks pass the network between nodes (all-to-all over EP), the links
// inside a node (all-gather and reduce-scatter over ESP) and the experts, and each of the three works on another chunk.
//
// Order on the three: D1 ... Dr C1 ... Cr between nodes; G1 G2 S1 G3 S2 ... inside, so that a chunk is gathered while the one
// before it is computed; E1 ... Er on the device. Backwards the same, with the adjoints in their places.
#include "sim/lower/moe_fsmoe.hpp"

#include "sim/lower/moe_megatron_a2a.hpp"
#include "sim/lower/moe_pipemoe.hpp"

namespace moesim {
namespace {

class FsMoe final : public MoeSchedule {
 public:
  std::string_view name() const override { return "fsmoe"; }
  std::string_view description() const override {
    return "FSMoE: chunks of copies between nodes, inside a node and in the experts at once (ASPLOS 2025)";
  }
  Status check(const Plan& plan, const MoeShape& shape) const override { return megatron_a2a().check(plan, shape); }
  std::vector<int> degrees(const Plan& plan) const override {
    return plan.sizes().ep > 1 ? std::vector<int>{2, 4, 8, 1} : std::vector<int>{1};
  }
  std::string_view same_as(const Plan& plan, const MoeShape&) const override {
    if (moe_degree(*this, plan) == 1) return megatron_a2a().name();
    return plan.sizes().esp == 1 ? pipemoe().name() : std::string_view{};
  }

  TensorId forward(MoeLayerBuilder& b, TensorId x) const override {
    if (b.degree() == 1) return megatron_a2a().forward(b, x);
    if (b.plan().sizes().esp == 1) return pipemoe().forward(b, x);
    const TensorId gate = b.gate(x);
    std::vector<RoutedTokens> pieces = b.cut(b.permute(x, gate), CutBy::kShare, b.degree());
    for (RoutedTokens& piece : pieces) piece = b.dispatch(piece, GroupKind::kEp);
    const bool mixed = b.local_experts() > 1;
    std::vector<TensorId> results;
    RoutedTokens next = b.share(pieces.front(), GroupKind::kEsp);
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      const RoutedTokens shared = next;
      if (i + 1 < pieces.size()) next = b.share(pieces[i + 1], GroupKind::kEsp);
      TensorId computed = b.experts(mixed ? b.sort_by_expert(shared) : shared);
      if (mixed) computed = b.sort_by_source(computed);
      results.push_back(b.combine(b.sum_shards(computed, GroupKind::kEsp), GroupKind::kEp));
    }
    return b.add_shared_experts(b.unpermute(b.join(results), gate), x);
  }
};

}  // namespace

const MoeSchedule& fsmoe() {
  static const FsMoe schedule;
  return schedule;
}

}  // namespace moesim
