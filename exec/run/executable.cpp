#include "exec/run/executable.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

namespace moesim {
namespace {

class Refusals {
 public:
  void add_if(bool condition, std::string_view what) {
    if (condition && std::ranges::find(list_, what) == list_.end()) list_.emplace_back(what);
  }
  [[nodiscard]] Status status() const {
    if (list_.empty()) return {};
    return usage_error(fmt::format("this plan can be simulated but not executed: {}", fmt::join(list_, "; ")),
                       "change the model or the plan in these points");
  }

 private:
  std::vector<std::string> list_;
};

void check_attention(const AttentionShape& attention, const Plan& plan, Refusals& refused) {
  const int tp = plan.sizes().tp;
  refused.add_if(attention.kind == AttentionKind::kMla, "multi-head latent attention");
  refused.add_if(attention.kind == AttentionKind::kLinear, "linear attention");
  refused.add_if(attention.qkv_bias || attention.out_bias, "biases of attention projections");
  refused.add_if(attention.sinks, "attention sinks");
  refused.add_if(attention.output_gate, "output gates of attention");
  refused.add_if(attention.chunked && attention.window > 0, "chunked attention");
  if (attention.kind != AttentionKind::kGrouped) return;
  refused.add_if(attention.head_dim % 2 != 0, "rotary positions with an odd head dimension");
  refused.add_if(attention.qk_norm && attention.qk_norm_wide && tp > 1, "norms over all heads together with tp > 1");
}

void check_moe(const MoeShape& moe, Refusals& refused) {
  refused.add_if(moe.expert.bias || moe.shared.bias, "biases of feed-forward blocks");
  refused.add_if(moe.shared_gate, "a gate on the shared experts");
  refused.add_if(moe.router_bias, "biases of the router");
  refused.add_if(moe.score == RouterScore::kSparsemixer, "sparsemixer routing");
}

}  // namespace

Status check_executable(const Plan& plan, const ModelShape& model) {
  Refusals refused;
  refused.add_if(plan.precision != "fp32" && plan.precision != "bf16", "precision other than fp32 and bf16");
  refused.add_if(plan.all_reduce != CollectiveAlgorithm::kAuto,
                 "all-reduce by a named algorithm (the executor takes recursive doubling or a ring by size)");
  refused.add_if(model.norm_bias, "LayerNorm (norms with bias)");
  refused.add_if(model.lm_head_bias, "a bias of the head");
  refused.add_if(model.learned_positions > 0, "learned positions");
  refused.add_if(model.mtp_layers > 0, "multi-token prediction");
  for (const LayerShape& layer : model.kinds) {
    check_attention(layer.attention, plan, refused);
    refused.add_if(layer.dense && layer.dense->bias, "biases of feed-forward blocks");
    if (layer.moe) check_moe(*layer.moe, refused);
  }
  return refused.status();
}

}  // namespace moesim
