// Model architecture as Megatron-LM flags.
#include <algorithm>

#include "sim/plan/export/export.hpp"
#include "sim/plan/export/megatron_flags.hpp"

namespace moesim {
namespace {

const LayerShape* first_with(const ModelShape& model, bool moe) {
  for (const std::int32_t kind : model.layers)
    if (model.kinds[static_cast<std::size_t>(kind)].moe.has_value() == moe)
      return &model.kinds[static_cast<std::size_t>(kind)];
  return nullptr;
}

void add_attention(MegatronFlags& out, const AttentionShape& a) {
  out.flags.add("--num-attention-heads", a.heads);
  if (a.kind == AttentionKind::kMla) {
    out.flags.add("--multi-latent-attention");
    if (a.q_lora > 0) out.flags.add("--q-lora-rank", a.q_lora);
    out.flags.add("--kv-lora-rank", a.kv_lora);
    out.flags.add("--qk-head-dim", a.qk_nope);
    out.flags.add("--qk-pos-emb-head-dim", a.qk_rope);
    out.flags.add("--v-head-dim", a.value_head_dim);
  } else {
    out.flags.add("--kv-channels", a.head_dim);
    if (a.kv_heads > 0 && a.kv_heads < a.heads) {
      out.flags.add("--group-query-attention");
      out.flags.add("--num-query-groups", a.kv_heads);
    }
  }
  if (a.qk_norm) out.flags.add("--qk-layernorm");
  if (a.qkv_bias && !a.out_bias) out.flags.add("--add-qkv-bias");
}

// What attention has and the flags above do not say, over all layer kinds.
void note_attention(MegatronFlags& out, const ModelShape& model) {
  const auto any = [&model](auto has) {
    return std::any_of(model.kinds.begin(), model.kinds.end(),
                       [&](const LayerShape& kind) { return has(kind.attention); });
  };
  const AttentionShape& first = model.layer(LayerId(0)).attention;
  const auto note = [&out](std::string_view what) {
    out.notes.push_back(fmt::format("not expressed: {}; set it for your Megatron-LM version", what));
  };
  if (any([](const AttentionShape& a) { return a.kind == AttentionKind::kLinear; })) note("linear attention layers");
  if (any([](const AttentionShape& a) { return a.window > 0; })) note("sliding or chunked attention windows");
  if (any([](const AttentionShape& a) { return a.sinks; })) note("learned attention sinks");
  if (any([](const AttentionShape& a) { return a.output_gate; })) note("the gate on the attention output");
  if (any([&](const AttentionShape& a) {
        return a.heads != first.heads || a.kv_heads != first.kv_heads || a.head_dim != first.head_dim;
      }))
    note("attention that differs between layers (the flags describe layer 0)");
}

void add_router(MegatronFlags& out, const MoeShape& moe) {
  switch (moe.score) {
    case RouterScore::kSoftmax:
      out.flags.add("--moe-router-score-function", "softmax");
      out.flags.add("--moe-router-pre-softmax");
      break;
    case RouterScore::kSoftmaxOfTopk: out.flags.add("--moe-router-score-function", "softmax"); break;
    case RouterScore::kSigmoid: out.flags.add("--moe-router-score-function", "sigmoid"); break;
    case RouterScore::kSparsemixer:
      out.notes.emplace_back("not expressed: the sparsemixer router; Megatron-LM has none");
      break;
  }
  out.flags.add("--moe-router-dtype", "fp32");
  if (moe.score_correction_bias) out.flags.add("--moe-router-enable-expert-bias");
  if (moe.groups > 1) {
    out.flags.add("--moe-router-num-groups", moe.groups);
    out.flags.add("--moe-router-group-topk", moe.top_groups);
  }
  if (moe.router_bias) out.notes.emplace_back("not expressed: the learned bias of the router's linear layer");
}

void add_moe(MegatronFlags& out, const ModelShape& model, const MoeShape& moe) {
  out.flags.add("--num-experts", moe.experts);
  out.flags.add("--moe-router-topk", moe.top_k);
  out.flags.add("--moe-ffn-hidden-size", moe.expert.width);
  out.flags.add("--moe-layer-freq", moe_layer_pattern(model));
  if (moe.shared.width > 0) out.flags.add("--moe-shared-expert-intermediate-size", moe.shared.width);
  if (moe.shared_gate) out.flags.add("--moe-shared-expert-gate");
  add_router(out, moe);
  const bool alike = std::all_of(model.kinds.begin(), model.kinds.end(),
                                 [&moe](const LayerShape& kind) { return !kind.moe || *kind.moe == moe; });
  if (!alike)
    out.notes.emplace_back("not expressed: MoE layers that differ from each other (the flags describe the first)");
}

// Megatron's linear biases are all or none.
void add_biases(MegatronFlags& out, const ModelShape& model) {
  const LayerShape* dense = first_with(model, false);
  const LayerShape* moe = first_with(model, true);
  const bool in_ffn = (dense != nullptr && dense->dense->bias) || (moe != nullptr && moe->moe->expert.bias);
  const bool in_output = model.layer(LayerId(0)).attention.out_bias;
  if (!in_ffn && !in_output) {
    out.flags.add("--disable-bias-linear");
  } else if (in_ffn != in_output) {
    out.notes.emplace_back("not expressed: biases on some linear layers only; the flags give biases to all");
  }
}

}  // namespace

void add_model_flags(MegatronFlags& out, const ModelShape& model, const Plan& plan) {
  const LayerShape* dense = first_with(model, false);
  const LayerShape* moe = first_with(model, true);
  const FfnShape& ffn = dense != nullptr ? *dense->dense : moe->moe->expert;
  out.flags.add("--num-layers", model.layer_count());
  out.flags.add("--hidden-size", model.hidden);
  out.flags.add("--ffn-hidden-size", ffn.width);
  add_attention(out, model.layer(LayerId(0)).attention);
  if (ffn.gated) out.flags.add("--swiglu");
  out.flags.add("--normalization", model.norm_bias ? "LayerNorm" : "RMSNorm");
  add_biases(out, model);
  out.flags.add("--position-embedding-type", model.learned_positions > 0 ? "learned_absolute" : "rope");
  out.flags.add("--max-position-embeddings",
                std::max(plan.seq_length, std::max(model.max_positions, model.learned_positions)));
  if (!model.tied_embeddings) out.flags.add("--untie-embeddings-and-output-weights");
  out.flags.add("--vocab-size", model.vocab);
  out.flags.add("--make-vocab-size-divisible-by", 128);
  if (moe != nullptr) add_moe(out, model, *moe->moe);
  note_attention(out, model);
  if (model.mtp_layers > 0)
    out.notes.push_back(
        fmt::format("the model has {} multi-token-prediction layer(s), which the plan leaves out; to train them add "
                    "--mtp-num-layers {}",
                    model.mtp_layers, model.mtp_layers));
  out.notes.emplace_back(
      "not known to the plan: tokenizer, data, learning rate, norm epsilon, rotary base and scaling, "
      "router scaling factor and balance loss");
}

}  // namespace moesim
