// FSMoE (ASPLOS 2025): three-way pipelining. Copies cut into r chunks pass the network between nodes (all-to-all over EP), the links
// inside a node (all-gather and reduce-scatter over ESP) and the experts, and each of the three works on another chunk.
//
// Order on the three: D1 ... Dr C1 ... Cr between nodes; G1 G2 S1 G3 S2 ... inside, so that a chunk is gathered while the one
// before it is computed; E1 ... Er on the device. Backwards the same, with the adjoints in their places.
#include "sim/lower/moe_fsmoe.hpp"

#include "sim/lower/moe_megatron_a2a.hpp"
#include "sim/lower/moe_pipemoe.hpp"
#include "sim/lower/moe_schemoe.hpp"

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
    if (is_in_one_piece(*this, plan)) return megatron_a2a().name();
    if (plan.sizes().esp > 1) return {};
    return compresses_rows(plan) ? schemoe().name() : pipemoe().name();
  }

  TensorId forward(MoeLayerBuilder& b, TensorId x) const override {
    if (b.degree() == 1) return megatron_a2a().forward(b, x);
    if (b.plan().sizes().esp == 1) return schemoe().forward(b, x);
    const TensorId gate = b.gate(x);
    std::vector<RoutedTokens> pieces = b.cut(b.permute(x, gate), CutBy::kShare, b.degree());
    std::vector<PackedTokens> out;
    for (const RoutedTokens& piece : pieces) out.push_back(b.depart(piece, OpKind::kDispatch, GroupKind::kEp));
    std::vector<PackedTokens> back;
    RoutedTokens next = b.share(b.arrive(out.front()), GroupKind::kEsp);
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      const RoutedTokens shared = next;
      if (i + 1 < pieces.size()) next = b.share(b.arrive(out[i + 1]), GroupKind::kEsp);
      const TensorId computed = b.experts_of_arrived(shared);
      back.push_back(b.depart({b.sum_shards(computed, GroupKind::kEsp), {}}, OpKind::kCombine, GroupKind::kEp));
    }
    std::vector<TensorId> results;
    for (const PackedTokens& arriving : back) results.push_back(b.arrive(arriving).tokens);
    return b.add_shared_experts(b.unpermute(b.join(results), gate), x);
  }
};

}  // namespace

const MoeSchedule& fsmoe() {
  static const FsMoe schedule;
  return schedule;
}

}  // namespace moesim
