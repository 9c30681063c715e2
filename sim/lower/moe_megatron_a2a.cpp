// Megatron-Core's all-to-all dispatcher under parallel folding (arXiv 2504.14960, section 3.3): all-to-all-v over EP,
// all-gather-v over ESP (Megatron's ETP), experts, reduce-scatter-v over ESP, all-to-all-v back.
#include "sim/lower/moe_megatron_a2a.hpp"

namespace moesim {
namespace {

class MegatronAllToAll final : public MoeSchedule {
 public:
  std::string_view name() const override { return "megatron-a2a"; }
  std::string_view description() const override {
    return "Megatron-Core all-to-all dispatcher: A2A-V over EP, AG/RS-V over ESP (arXiv 2504.14960)";
  }
  Status check(const Plan& plan, const MoeShape&) const override {
    if (plan.sizes().tp > 1 && !plan.sequence_parallel)
      return usage_error(
          "this dispatcher needs sequence parallelism when tp > 1, or every TP rank would send the same tokens",
          "set \"sequence_parallel\": true");
    return {};
  }

  TensorId forward(MoeLayerBuilder& b, TensorId x) const override {
    const ParallelSizes& sizes = b.plan().sizes();
    const TensorId gate = b.gate(x);
    RoutedTokens routed = b.permute(x, gate);
    if (sizes.ep > 1) routed = b.dispatch(routed, GroupKind::kEp);
    if (sizes.esp > 1) routed = b.share(routed, GroupKind::kEsp);
    const bool mixed = b.local_experts() > 1 && (sizes.ep > 1 || sizes.esp > 1);
    if (mixed) routed = b.sort_by_expert(routed);
    TensorId computed = b.experts(routed);
    if (mixed) computed = b.sort_by_source(computed);
    if (sizes.esp > 1) computed = b.sum_shards(computed, GroupKind::kEsp);
    if (sizes.ep > 1) computed = b.combine(computed, GroupKind::kEp);
    return b.add_shared_experts(b.unpermute(computed, gate), x);
  }
};

}  // namespace

const MoeSchedule& megatron_a2a() {
  static const MegatronAllToAll schedule;
  return schedule;
}

}  // namespace moesim
