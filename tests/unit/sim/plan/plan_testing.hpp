// Small models and plans for the tests of sim/plan.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "sim/plan/plan.hpp"

namespace moesim {

// Mixtral-8x7B: 32 layers, 32 heads, 8 key/value heads, 8 experts of width 14336, top-2.
inline ModelShape mixtral_like() {
  ModelShape model;
  model.name = "mixtral-like";
  model.model_type = "mixtral";
  model.hidden = 4096;
  model.vocab = 32000;
  model.max_positions = 32768;
  LayerShape layer;
  layer.attention = {.heads = 32, .kv_heads = 8, .head_dim = 128, .value_head_dim = 128};
  layer.moe = MoeShape{.experts = 8, .top_k = 2, .expert = {.width = 14336}, .shared = {}};
  model.kinds = {layer};
  model.layers.assign(32, 0);
  return model;
}

// DeepSeek-V3: MLA, 3 dense layers and 58 with 256 experts of width 2048, one shared expert, group-limited top-8.
inline ModelShape deepseek_like() {
  ModelShape model;
  model.name = "deepseek-like";
  model.model_type = "deepseek_v3";
  model.hidden = 7168;
  model.vocab = 129280;
  model.max_positions = 163840;
  model.mtp_layers = 1;
  LayerShape dense;
  dense.attention = {.kind = AttentionKind::kMla,
                     .heads = 128,
                     .kv_heads = 128,
                     .head_dim = 192,
                     .value_head_dim = 128,
                     .q_lora = 1536,
                     .kv_lora = 512,
                     .qk_nope = 128,
                     .qk_rope = 64};
  LayerShape moe = dense;
  dense.dense = FfnShape{.width = 18432};
  moe.moe = MoeShape{.experts = 256,
                     .top_k = 8,
                     .expert = {.width = 2048},
                     .shared = {.width = 2048},
                     .score = RouterScore::kSigmoid,
                     .score_correction_bias = true,
                     .groups = 8,
                     .top_groups = 4};
  model.kinds = {dense, moe};
  model.layers.assign(61, 1);
  model.layers[0] = model.layers[1] = model.layers[2] = 0;
  return model;
}

inline ModelShape dense_like() {
  ModelShape model = mixtral_like();
  model.name = "dense-like";
  model.model_type = "llama";
  model.kinds[0].moe.reset();
  model.kinds[0].dense = FfnShape{.width = 14336};
  return model;
}

// 64 ranks: TP2 PP4 DP8, EP8; 1F1B with 16 micro-batches.
inline Plan mixtral_plan() {
  Plan plan;
  plan.layout.sizes = {.tp = 2, .cp = 1, .pp = 4, .vpp = 1, .dp = 8, .ep = 8, .esp = 1, .edp = 2};
  plan.seq_length = 4096;
  plan.micro_batch = 1;
  plan.global_batch = 128;
  return plan;
}

}  // namespace moesim
