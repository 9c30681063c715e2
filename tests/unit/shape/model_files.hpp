// Small model files of some families, and reading them, for the tests of the readers.
#pragma once

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "models/shape/model_source.hpp"

namespace moesim::model_files {

using nlohmann::json;

inline Result<LoadedModel> read(const json& config) { return parse_model(config.dump(), "config.json"); }

inline LoadedModel accept(const json& config) {
  auto model = read(config);
  EXPECT_TRUE(model.has_value()) << (model ? "" : model.error().what + " at " + model.error().where);
  return model ? *std::move(model) : LoadedModel{};
}

inline Error reject(const json& config) {
  const auto model = read(config);
  EXPECT_FALSE(model.has_value());
  if (model) return {};
  EXPECT_EQ(model.error().kind, ErrorKind::kInvalidInput);
  return model.error();
}

inline std::string moe_pattern(const ModelShape& shape) {
  std::string pattern;
  for (int i = 0; i < shape.layer_count(); ++i) pattern += shape.layer(LayerId(i)).moe ? 'M' : 'd';
  return pattern;
}

inline std::string window_pattern(const ModelShape& shape) {
  std::string pattern;
  for (int i = 0; i < shape.layer_count(); ++i) pattern += shape.layer(LayerId(i)).attention.window > 0 ? 'w' : '-';
  return pattern;
}

inline json mixtral() {
  return {{"model_type", "mixtral"},  {"hidden_size", 8},
          {"num_hidden_layers", 2},   {"vocab_size", 10},
          {"num_attention_heads", 4}, {"num_key_value_heads", 2},
          {"num_local_experts", 4},   {"num_experts_per_tok", 2},
          {"intermediate_size", 16},  {"tie_word_embeddings", false}};
}

inline json deepseek() {
  return {{"model_type", "deepseek_v3"},
          {"hidden_size", 8},
          {"num_hidden_layers", 5},
          {"vocab_size", 10},
          {"num_attention_heads", 4},
          {"num_key_value_heads", 4},
          {"n_routed_experts", 8},
          {"num_experts_per_tok", 2},
          {"intermediate_size", 32},
          {"moe_intermediate_size", 16},
          {"n_shared_experts", 2},
          {"first_k_dense_replace", 1},
          {"q_lora_rank", nullptr},
          {"kv_lora_rank", 6},
          {"qk_nope_head_dim", 3},
          {"qk_rope_head_dim", 2},
          {"v_head_dim", 4},
          {"tie_word_embeddings", false}};
}

inline json qwen3_moe() {
  return {{"model_type", "qwen3_moe"},
          {"hidden_size", 8},
          {"num_hidden_layers", 4},
          {"vocab_size", 10},
          {"num_attention_heads", 4},
          {"num_key_value_heads", 2},
          {"head_dim", 6},
          {"num_experts", 4},
          {"num_experts_per_tok", 2},
          {"intermediate_size", 32},
          {"moe_intermediate_size", 16},
          {"decoder_sparse_step", 1},
          {"tie_word_embeddings", false}};
}

inline json plain() {
  return {{"model_type", "gpt_moe"}, {"layers", 4},  {"hidden", 8}, {"heads", 4}, {"vocab", 10},
          {"ffn_multiple", 4},       {"experts", 4}, {"top_k", 2}};
}

inline json llama4() {
  return {{"model_type", "llama4"},
          {"vision_config", {{"hidden_size", 99}}},
          {"text_config",
           {{"model_type", "llama4_text"},
            {"hidden_size", 8},
            {"num_hidden_layers", 8},
            {"vocab_size", 10},
            {"num_attention_heads", 4},
            {"num_key_value_heads", 2},
            {"head_dim", 2},
            {"num_local_experts", 4},
            {"num_experts_per_tok", 1},
            {"intermediate_size", 16},
            {"intermediate_size_mlp", 32},
            {"interleave_moe_layer_step", 2},
            {"attention_chunk_size", 64}}}};
}

}  // namespace moesim::model_files
