// Janus (SIGCOMM 2023): move the experts instead of the tokens where they are fewer bytes. Each rank fetches the weights of all experts
// when the gate has chosen, in batches, so that one is on its way while another computes this rank's own copies, and gives back the
// gradients. A layer for which the copies are fewer bytes is lowered as megatron-a2a.
//
// What a rank receives over the network, per micro-batch and layer, in balance:
//   experts  (E - E / EP) * parameters of one * (bytes of a weight + bytes of a gradient)
//   tokens   4 * k * n / TP * (1 - 1 / EP) * hidden * bytes of an activation: dispatch and combine, forward and backward
// Worked: E 8, EP 4, hidden 1024, width 4096, ungated, BF16 with FP32 gradients: 6 * 8.39e6 * 6 = 302 MB of experts. k 2 and 16384
// tokens: 4 * 32768 * 0.75 * 2048 = 201 MB of copies, so that they travel; with 32768 tokens the experts do.
// What of it the paper shares between the ranks of a node is not done here: each rank fetches for itself.
#include "sim/lower/moe_janus.hpp"

#include "models/precision.hpp"
#include "sim/lower/moe_megatron_a2a.hpp"

namespace moesim {
namespace {

// Whether the experts are fewer bytes than the copies. What both are multiplied by, hidden * (1 - 1 / EP), is left out.
bool moves_experts(const Plan& plan, const MoeShape& shape) {
  const Result<PrecisionRecipe> recipe = find_precision(plan.precision);
  if (plan.sizes().ep == 1 || !recipe) return false;
  const std::int64_t matrices = shape.expert.gated ? 3 : 2;
  const std::int64_t parameters = shape.experts * matrices * shape.expert.width;
  const Bytes experts = storage(parameters, recipe->weight) + storage(parameters, recipe->gradient);
  const std::int64_t copies = shape.top_k * plan.tokens_per_micro_batch() / plan.sizes().tp;
  return experts < storage(4 * copies, recipe->activation);
}

class Janus final : public MoeSchedule {
 public:
  std::string_view name() const override { return "janus"; }
  std::string_view description() const override {
    return "Janus: experts move to the tokens where they are fewer bytes (SIGCOMM 2023)";
  }
  Status check(const Plan& plan, const MoeShape& shape) const override {
    if (plan.sizes().esp > 1) return usage_error("janus knows no shards of experts", "set esp to 1");
    if (compresses_rows(plan) && moves_experts(plan, shape))
      return usage_error("janus moves experts here instead of tokens, so none are compressed",
                         "leave \"moe_dispatch_format\" and \"moe_combine_format\" out, or take megatron-a2a");
    return megatron_a2a().check(plan, shape);
  }
  int shadows(const Plan& plan, const MoeShape& shape) const override {
    return moves_experts(plan, shape) ? static_cast<int>(shape.experts) : 0;
  }
  std::string_view same_as(const Plan& plan, const MoeShape& shape) const override {
    return moves_experts(plan, shape) ? std::string_view{} : megatron_a2a().name();
  }

  TensorId forward(MoeLayerBuilder& b, TensorId x) const override {
    if (b.shadows() == 0) return megatron_a2a().forward(b, x);
    const TensorId gate = b.gate(x);
    const MoeLayerBuilder::CutCopies copies = b.cut_shadows(b.permute(x, gate), 0);
    const std::vector<ExpertWeights> fetched = b.fetch_shadows(gate);
    std::vector<TensorId> results;
    for (std::size_t i = 0; i < fetched.size(); ++i) results.push_back(b.shadow_experts(copies.staying[i], fetched[i]));
    return b.add_shared_experts(b.unpermute(b.join(results), gate), x);
  }
};

}  // namespace

const MoeSchedule& janus() {
  static const Janus schedule;
  return schedule;
}

}  // namespace moesim
