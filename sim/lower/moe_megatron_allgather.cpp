// Megatron-Core's all-gather dispatcher (--moe-token-dispatcher-type allgather): every rank of EP x ESP gathers the tokens of all with
// what their gates chose, computes the copies for its own experts, and the partial sums of all tokens are reduce-scattered. No
// exchange depends on what the gate chose, and nothing is sorted by source; a token is sent to every rank whether it goes there or
// not. Good where a token goes to most ranks anyway: with top_k near EP.
#include "sim/lower/moe_megatron_allgather.hpp"

#include "sim/lower/moe_megatron_a2a.hpp"

namespace moesim {
namespace {

class MegatronAllGather final : public MoeSchedule {
 public:
  std::string_view name() const override { return "megatron-allgather"; }
  std::string_view description() const override {
    return "Megatron-Core all-gather dispatcher: all tokens to all ranks of EP x ESP, reduce-scatter of their sums";
  }
  Status check(const Plan& plan, const MoeShape& shape) const override {
    if (plan.capacity_factor > 0)
      return usage_error(
          "megatron-allgather computes the copies of all ranks together and knows no capacity of one rank",
          "set \"capacity_factor\": 0, or take megatron-a2a");
    if (compresses_rows(plan))
      return usage_error("megatron-allgather gathers tokens and exchanges none, so none are compressed",
                         "leave \"moe_dispatch_format\" and \"moe_combine_format\" out, or take megatron-a2a");
    return megatron_a2a().check(plan, shape);
  }
  // Of the tokens of all ranks each picks the copies for its own experts.
  bool deals_copies() const override { return false; }
  std::string_view same_as(const Plan& plan, const MoeShape&) const override {
    return plan.sizes().ep * plan.sizes().esp == 1 ? megatron_a2a().name() : std::string_view{};
  }

  TensorId forward(MoeLayerBuilder& b, TensorId x) const override {
    if (b.plan().sizes().ep * b.plan().sizes().esp == 1) return megatron_a2a().forward(b, x);
    const MoeLayerBuilder::GatheredTokens all = b.gather_everything(x, b.gate(x));
    return b.add_shared_experts(b.unpermute_local(b.experts(b.permute_local(all)), all), x);
  }
};

}  // namespace

const MoeSchedule& megatron_allgather() {
  static const MegatronAllGather schedule;
  return schedule;
}

}  // namespace moesim
