// DeepSpeed's MoE layer up to July 2024, as its code had it: the TP ranks gate all tokens of their group alike. With sliced
// experts (esp = tp) every rank sends all copies to its own shard of each expert, and the shards sum their results by the
// all-reduce of a row-parallel layer: each copy crosses the network TP times. Experts that are not sliced get each copy once: a
// rank drops the duplicates, sends its share, and the results are gathered over TP.
#include "sim/lower/moe_deepspeed_v0.hpp"

#include "sim/lower/expert_slicing.hpp"
#include "sim/lower/moe_megatron_a2a.hpp"

namespace moesim {
namespace {

class DeepSpeedV0 final : public MoeSchedule {
 public:
  std::string_view name() const override { return "deepspeed-v0"; }
  std::string_view description() const override {
    return "DeepSpeed before it dropped duplicates: all copies to every shard, all-reduce inside the experts";
  }
  Status check(const Plan& plan, const MoeShape&) const override { return check_expert_slicing(name(), plan); }
  CopyDivision division(const Plan& plan) const override {
    return plan.sizes().esp > 1 ? CopyDivision::kAllOfTpGroup : CopyDivision::kShareOfEachExpert;
  }
  std::string_view same_as(const Plan& plan, const MoeShape&) const override {
    return plan.sizes().tp == 1 ? megatron_a2a().name() : std::string_view{};
  }

  TensorId forward(MoeLayerBuilder& b, TensorId x) const override {
    const ParallelSizes& sizes = b.plan().sizes();
    const TensorId all = b.group_tokens(x);
    const TensorId gate = b.gate(all);
    RoutedTokens routed = b.permute(all, gate);
    if (sizes.esp == 1) routed = b.share_out(routed);
    if (sizes.ep > 1) routed = b.dispatch(routed, GroupKind::kEp);
    const bool mixed = b.local_experts() > 1 && sizes.ep > 1;
    if (mixed) routed = b.sort_by_expert(routed);
    TensorId computed = b.experts_summed(routed);
    if (mixed) computed = b.sort_by_source(computed);
    if (sizes.ep > 1) computed = b.combine(computed, GroupKind::kEp);
    if (sizes.esp == 1) computed = b.gather_shares(computed);
    return b.add_shared_experts(b.return_group_tokens(b.unpermute(computed, gate)), x);
  }
};

}  // namespace

const MoeSchedule& deepspeed_v0() {
  static const DeepSpeedV0 schedule;
  return schedule;
}

}  // namespace moesim
