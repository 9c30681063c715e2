// DeepSpeed's MoE layer since July 2024 (pull request 5626), the order of DeepSpeed-TED (arXiv 2303.06318): the TP ranks gate all
// tokens of their group alike and drop duplicates before the all-to-all: each sends its share of every expert's copies. What
// arrives is gathered over TP, computed by all shards alike with the all-reduce of a row-parallel layer inside, cut again,
// sent back and gathered. A copy crosses the network once and is handed on inside the TP group.
#include "sim/lower/moe_deepspeed_v1.hpp"

#include "sim/lower/expert_slicing.hpp"
#include "sim/lower/moe_deepspeed_v0.hpp"
#include "sim/lower/moe_megatron_a2a.hpp"

namespace moesim {
namespace {

class DeepSpeedV1 final : public MoeSchedule {
 public:
  std::string_view name() const override { return "deepspeed-v1"; }
  std::string_view description() const override {
    return "DeepSpeed since it drops duplicates (TED): shares over EP, all-gather over TP before the experts";
  }
  Status check(const Plan& plan, const MoeShape&) const override { return check_expert_slicing(name(), plan); }
  CopyDivision division(const Plan&) const override { return CopyDivision::kShareOfEachExpert; }
  // Experts that are not sliced had their duplicates dropped before.
  std::string_view same_as(const Plan& plan, const MoeShape&) const override {
    if (plan.sizes().tp == 1) return megatron_a2a().name();
    return plan.sizes().esp == 1 ? deepspeed_v0().name() : std::string_view{};
  }

  TensorId forward(MoeLayerBuilder& b, TensorId x) const override {
    const ParallelSizes& sizes = b.plan().sizes();
    const TensorId all = b.group_tokens(x);
    const TensorId gate = b.gate(all);
    RoutedTokens routed = b.share_out(b.permute(all, gate));
    if (sizes.ep > 1) routed = b.dispatch(routed, GroupKind::kEp);
    if (sizes.esp > 1) routed = b.share_alike(routed);
    const bool mixed = b.local_experts() > 1 && (sizes.ep > 1 || sizes.esp > 1);
    if (mixed) routed = b.sort_by_expert(routed);
    TensorId computed = b.experts_summed(routed);
    if (mixed) computed = b.sort_by_source(computed);
    if (sizes.esp > 1) computed = b.keep_own_rows(computed);
    if (sizes.ep > 1) computed = b.combine(computed, GroupKind::kEp);
    return b.add_shared_experts(b.return_group_tokens(b.unpermute(b.gather_shares(computed), gate)), x);
  }
};

}  // namespace

const MoeSchedule& deepspeed_v1() {
  static const DeepSpeedV1 schedule;
  return schedule;
}

}  // namespace moesim
