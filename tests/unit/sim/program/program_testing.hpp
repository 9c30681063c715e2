// Small models, plans and loads for the tests of programs, memory and steps.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "models/shape/model_source.hpp"
#include "sim/lower/lower.hpp"
#include "sim/pipeline/schedules.hpp"
#include "sim/simulate/step.hpp"

namespace moesim {

// Eight layers of hidden width 64; the vocabulary is a multiple of 128 * 2, so that nothing is padded up to TP 2.
inline ModelShape small_dense() {
  ModelShape model;
  model.name = "small-dense";
  model.model_type = "llama";
  model.hidden = 64;
  model.vocab = 1024;
  LayerShape layer;
  layer.attention = {.heads = 8, .kv_heads = 4, .head_dim = 16, .value_head_dim = 16};
  layer.dense = FfnShape{.width = 192};
  model.kinds = {layer};
  model.layers.assign(8, 0);
  return model;
}

// The same with 16 experts of width 32, top-2, from the second layer on, and a shared expert.
inline ModelShape small_moe() {
  ModelShape model = small_dense();
  model.name = "small-moe";
  model.model_type = "mixtral";
  LayerShape layer = model.kinds[0];
  layer.dense.reset();
  layer.moe = MoeShape{.experts = 16, .top_k = 2, .expert = {.width = 32}, .shared = {.width = 64}};
  model.kinds.push_back(layer);
  model.layers.assign(8, 1);
  model.layers[0] = 0;
  return model;
}

// The same, wide enough that kernels take longer than their launch.
inline ModelShape wide_moe() {
  ModelShape model = small_moe();
  model.hidden = 1024;
  for (LayerShape& kind : model.kinds)
    if (kind.moe) kind.moe->expert.width = 2048;
  return model;
}

// Multi-head latent attention, query/key latents.
inline ModelShape small_mla() {
  ModelShape model = small_moe();
  model.name = "small-mla";
  for (LayerShape& kind : model.kinds)
    kind.attention = {.kind = AttentionKind::kMla,
                      .heads = 8,
                      .kv_heads = 8,
                      .head_dim = 24,
                      .value_head_dim = 16,
                      .q_lora = 48,
                      .kv_lora = 32,
                      .qk_nope = 16,
                      .qk_rope = 8};
  return model;
}

inline ModelShape zoo(const std::string& name) {
  auto model = load_model("zoo:" + name);
  EXPECT_TRUE(model.has_value()) << name;
  return model ? model->shape : ModelShape{};
}

inline Plan plan_of(const ParallelSizes& sizes, int micro_batches) {
  Plan plan;
  plan.layout.sizes = sizes;
  plan.seq_length = 64;
  plan.micro_batch = 1;
  plan.global_batch = micro_batches * sizes.dp;
  return plan;
}

// A pipeline by name on `pp` stages: virtual stages as the schedule holds them (2 where it leaves the choice).
inline Plan with_pipeline(Plan plan, std::string_view name) {
  plan.pipeline = std::string(name);
  plan.layout.sizes.vpp =
      name.starts_with("interleaved") ? 2 : find_pipeline_schedule(name).value()->chunks_per_stage(1);
  return plan;
}

// Skewed rows that are legal: a token takes top_k neighbouring experts, starting at floor(experts * u^n) behind the hot
// expert; which one is hot and how much (n from 1, even, to 3) differs by layer and micro-batch.
inline std::shared_ptr<const RoutedLoads> skewed_loads(const Plan& plan, const ModelShape& model, int sources,
                                                       int variants, std::uint64_t seed) {
  const MoeShape& moe = *model.first_moe();
  RoutedLoads loads;
  loads.moe_layers = model.moe_layer_count();
  loads.variants = variants;
  loads.sources = sources;
  loads.experts = static_cast<int>(moe.experts);
  loads.top_k = static_cast<int>(moe.top_k);
  loads.tokens_per_source = plan.tokens_per_micro_batch() / (plan.sequence_parallel ? plan.sizes().tp : 1);
  loads.balanced = false;
  std::int64_t hot = 0;
  int power = 1;
  const auto draw = [&seed] {
    seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return static_cast<double>(seed >> 11U) / 9007199254740992.0;
  };
  for (int row = 0; row < loads.moe_layers * variants * sources; ++row) {
    if (row % sources == 0) {
      hot = static_cast<std::int64_t>(static_cast<double>(moe.experts) * draw());
      power = 1 + static_cast<int>(3 * draw());
    }
    std::vector<std::int32_t> counts(static_cast<std::size_t>(moe.experts), 0);
    for (std::int64_t token = 0; token < loads.tokens_per_source; ++token) {
      const double u = draw();
      const auto start = hot + static_cast<std::int64_t>(static_cast<double>(moe.experts) * std::pow(u, power));
      for (std::int64_t k = 0; k < moe.top_k; ++k) ++counts[static_cast<std::size_t>((start + k) % moe.experts)];
    }
    loads.counts.insert(loads.counts.end(), counts.begin(), counts.end());
  }
  return std::make_shared<const RoutedLoads>(std::move(loads));
}

inline Program lowered(const Plan& plan, const ModelShape& model, std::shared_ptr<const RoutedLoads> loads = nullptr) {
  const Status fine = check_plan(plan, model, plan.sizes().world());
  EXPECT_TRUE(fine.has_value()) << (fine ? std::string() : fine.error().what);
  auto layout = Layout::make(plan.layout, plan.sizes().world());
  EXPECT_TRUE(layout.has_value()) << (layout ? std::string() : layout.error().what);
  if (!fine || !layout) return {};
  if (!loads) loads = loads_for(plan, model, nullptr, 1).value();
  auto program = lower(plan, model, std::make_shared<const Layout>(std::move(*layout)), std::move(loads));
  EXPECT_TRUE(program.has_value()) << (program ? std::string() : program.error().what);
  return program ? std::move(*program) : Program{};
}

constexpr std::string_view kPipelines[] = {"gpipe",     "1f1b",         "interleaved",        "zb1p", "zbv", "dualpipe",
                                           "dualpipev", "1f1b-overlap", "interleaved-overlap"};

}  // namespace moesim
