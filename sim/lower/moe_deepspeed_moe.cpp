// The default MP+EP+ESP order that Parm compares itself with (INFOCOM 2024, arXiv 2407.00599): the ESP ranks gather each other's
// tokens, gate them all, exchange over EP, compute each its shard, sum the shards' results by an all-reduce, exchange back, and
// keep their own. Whatever the TP ranks of a group hold alike is gathered, sent and computed TP times.
//
// Backwards the gathered tokens' gradients are reduce-scattered, which sums the shards' parts of them. What DeepSpeed's own code
// does is deepspeed-v0 and deepspeed-v1.
#include "sim/lower/moe_deepspeed_moe.hpp"

#include "sim/lower/moe_megatron_a2a.hpp"

namespace moesim {
namespace {

class DeepSpeedMoe final : public MoeSchedule {
 public:
  std::string_view name() const override { return "deepspeed-moe"; }
  std::string_view description() const override {
    return "MP+EP+ESP as Parm's baseline: AG over ESP, A2A over EP, AR over ESP, A2A back (arXiv 2407.00599)";
  }
  Status check(const Plan&, const MoeShape&) const override { return {}; }
  CopyDivision division(const Plan&) const override { return CopyDivision::kAllOfEspGroup; }
  std::string_view same_as(const Plan& plan) const override {
    return plan.sizes().tp == 1 && plan.sizes().esp == 1 ? megatron_a2a().name() : std::string_view{};
  }

  TensorId forward(MoeLayerBuilder& b, TensorId x) const override {
    const ParallelSizes& sizes = b.plan().sizes();
    const TensorId all = b.esp_tokens(b.group_tokens(x));
    const TensorId gate = b.gate(all);
    RoutedTokens routed = b.permute(all, gate);
    if (sizes.ep > 1) routed = b.dispatch(routed, GroupKind::kEp);
    const bool mixed = b.local_experts() > 1 && sizes.ep > 1;
    if (mixed) routed = b.sort_by_expert(routed);
    TensorId computed = b.experts(routed);
    if (mixed) computed = b.sort_by_source(computed);
    computed = b.sum_alike(computed);
    if (sizes.ep > 1) computed = b.combine(computed, GroupKind::kEp);
    const TensorId y = b.return_group_tokens(b.return_esp_tokens(b.unpermute(computed, gate)));
    return b.add_shared_experts(y, x);
  }
};

}  // namespace

const MoeSchedule& deepspeed_moe() {
  static const DeepSpeedMoe schedule;
  return schedule;
}

}  // namespace moesim
