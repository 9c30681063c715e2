// FasterMoE (PPoPP 2022; laekov/fastmoe, fmoe/fastermoe): smart scheduling and shadowed experts.
//
// The EP group is cut into m runs. In step j a member of run q sends to run q + j and receives from run q - j (CutBy::kDistance):
//   network:  S_0 ... S_{m-1}, the weights of each shadowed expert from its owner, R_0 ... R_{m-1}
//   device:   C_0 ... C_{m-1}, C_j after S_j; then each shadowed expert's own copies, after its weights
//   and R_j after C_j
// Backwards the shadowed experts come first, whose weights are still there; their gradients go back to the owners between the two
// runs of exchanges, and the owners add them after C_{m-1}.
#include "sim/lower/moe_fastermoe.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "sim/lower/moe_megatron_a2a.hpp"

namespace moesim {
namespace {

constexpr int kOwnRun = 4;  // members of a run where the user says nothing (FMOE_FASTER_GROUP_SIZE)

class FasterMoe final : public MoeSchedule {
 public:
  std::string_view name() const override { return "fastermoe"; }
  std::string_view description() const override {
    return "FasterMoE: exchange by distance while experts compute, shadowed experts (PPoPP 2022)";
  }
  Status check(const Plan& plan, const MoeShape& shape) const override {
    if (plan.sizes().esp > 1) return usage_error("fastermoe knows no shards of experts", "set esp to 1");
    if (plan.moe_shadows > 0 && plan.sizes().ep == 1)
      return usage_error("without expert parallelism every rank has all experts, and none can be shadowed",
                         "set \"moe_shadows\" to 0, or ep above 1");
    if (plan.moe_shadows > shape.experts)
      return usage_error(fmt::format("{} experts cannot have {} shadowed ones", shape.experts, plan.moe_shadows),
                         fmt::format("set \"moe_shadows\" to at most {}", shape.experts));
    return megatron_a2a().check(plan, shape);
  }
  // Its own runs have four members; two runs where that would be one.
  std::vector<int> degrees(const Plan& plan) const override {
    const int ep = plan.sizes().ep;
    std::vector<int> runs;
    for (int m = kMostMoePieces; m >= 1; --m)
      if (ep % m == 0) runs.push_back(m);
    const int own = std::max(ep / kOwnRun, 2);
    std::stable_partition(runs.begin(), runs.end(), [own](int m) { return m <= own; });
    return runs;
  }
  int shadows(const Plan& plan, const MoeShape&) const override { return plan.moe_shadows; }
  std::string_view same_as(const Plan& plan, const MoeShape&) const override {
    return is_in_one_piece(*this, plan) && plan.moe_shadows == 0 ? megatron_a2a().name() : std::string_view{};
  }

  TensorId forward(MoeLayerBuilder& b, TensorId x) const override {
    if (b.degree() == 1 && b.shadows() == 0) return megatron_a2a().forward(b, x);
    const TensorId gate = b.gate(x);
    MoeLayerBuilder::CutCopies copies;
    if (b.shadows() == 0) {
      copies.travelling = b.cut(b.permute(x, gate), CutBy::kDistance, b.degree());
    } else {
      copies = b.cut_shadows(b.permute(x, gate), b.degree());
    }
    std::vector<PackedTokens> out;
    for (const RoutedTokens& piece : copies.travelling)
      out.push_back(b.depart(piece, OpKind::kDispatch, GroupKind::kEp));
    const std::vector<ExpertWeights> fetched = b.fetch_shadows(gate);
    const std::vector<PackedTokens> back = b.experts_under_way(out, GroupKind::kEp);
    std::vector<TensorId> staying;
    for (std::size_t i = 0; i < fetched.size(); ++i) staying.push_back(b.shadow_experts(copies.staying[i], fetched[i]));
    std::vector<TensorId> results;
    for (const PackedTokens& arriving : back) results.push_back(b.arrive(arriving).tokens);
    results.insert(results.end(), staying.begin(), staying.end());
    return b.add_shared_experts(b.unpermute(b.join(results), gate), x);
  }
};

}  // namespace

const MoeSchedule& fastermoe() {
  static const FasterMoe schedule;
  return schedule;
}

}  // namespace moesim
