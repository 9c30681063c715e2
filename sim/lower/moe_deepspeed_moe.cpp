// The default MP+EP+ESP order that Parm compares itself with (INFOCOM 2024, arXiv 2407.00599): the ESP ranks gather each other's
// tokens, gate them all, exchange over EP, compute each its shard, sum the shards' results by an all-reduce, exchange back, and
// keep their own. Whatever the TP ranks of a group hold alike is gathered, sent and computed TP times.
//
// Backwards the shards' parts of the tokens' gradients are summed in one of two ways, and which of them the paper has is not known:
//   deepspeed-moe     where tokens were gathered, by a reduce-scatter of their gradients
//   deepspeed-moe-ar  inside the experts, by an all-reduce of the copies' gradients, as Megatron's row-parallel layers do it (f and
//                     g); they are alike on all shards from there on, and each rank keeps the gradients of its own tokens
// What DeepSpeed's own code does is deepspeed-v0 and deepspeed-v1.
#include "sim/lower/moe_deepspeed_moe.hpp"

#include "sim/lower/moe_megatron_a2a.hpp"

namespace moesim {
namespace {

enum class SumOfGradients : std::uint8_t { kOfTokens, kOfCopies };

class DeepSpeedMoe final : public MoeSchedule {
 public:
  explicit DeepSpeedMoe(SumOfGradients sum) : sum_(sum) {}
  std::string_view name() const override { return of_tokens() ? "deepspeed-moe" : "deepspeed-moe-ar"; }
  std::string_view description() const override {
    return of_tokens()
               ? "MP+EP+ESP as Parm's baseline: AG over ESP, A2A over EP, AR over ESP, A2A back (arXiv 2407.00599)"
               : "the same with an all-reduce of the copies' gradients inside the experts (Megatron's f and g)";
  }
  Status check(const Plan&, const MoeShape&) const override { return {}; }
  CopyDivision division(const Plan&) const override { return CopyDivision::kAllOfEspGroup; }
  std::string_view same_as(const Plan& plan, const MoeShape&) const override {
    if (plan.sizes().esp > 1) return {};
    if (!of_tokens()) return deepspeed_moe().name();
    return plan.sizes().tp == 1 ? megatron_a2a().name() : std::string_view{};
  }

  TensorId forward(MoeLayerBuilder& b, TensorId x) const override {
    const ParallelSizes& sizes = b.plan().sizes();
    const bool alike = !of_tokens() && sizes.esp > 1;
    const TensorId own = b.group_tokens(x);
    const TensorId all = alike ? b.esp_tokens_alike(own) : b.esp_tokens(own);
    const TensorId gate = alike ? b.gate_alike_on_esp(all) : b.gate(all);
    RoutedTokens routed = b.permute(all, gate);
    if (sizes.ep > 1) routed = b.dispatch(routed, GroupKind::kEp);
    const bool mixed = b.local_experts() > 1 && sizes.ep > 1;
    if (mixed) routed = b.sort_by_expert(routed);
    // With the sum in the same place; experts_summed() has that of the gradients as well.
    TensorId computed = alike ? b.experts_summed(routed) : b.experts(routed);
    if (mixed) computed = b.sort_by_source(computed);
    if (!alike) computed = b.sum_alike(computed);
    if (sizes.ep > 1) computed = b.combine(computed, GroupKind::kEp);
    const TensorId y = b.return_group_tokens(b.return_esp_tokens(b.unpermute(computed, gate)));
    return b.add_shared_experts(y, x);
  }

 private:
  [[nodiscard]] bool of_tokens() const { return sum_ == SumOfGradients::kOfTokens; }

  SumOfGradients sum_;
};

}  // namespace

const MoeSchedule& deepspeed_moe() {
  static const DeepSpeedMoe schedule(SumOfGradients::kOfTokens);
  return schedule;
}

const MoeSchedule& deepspeed_moe_ar() {
  static const DeepSpeedMoe schedule(SumOfGradients::kOfCopies);
  return schedule;
}

}  // namespace moesim
