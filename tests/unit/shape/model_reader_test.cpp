// One reader per family, on small files whose counts are summed by hand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.hpp"
#include "model_files.hpp"

namespace moesim {
namespace {

using namespace model_files;
using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;

// Per layer: attention 8*(8 + 2*4) + 8*8 = 192, norms 16, router 32, experts 4 * 3*8*16 = 1536: 1776.
// Total 2 * 1776 + 2 * 80 + 8 = 3720; active 2 * (192 + 16 + 32 + 768) + 168 = 2184.
TEST(ModelReader, MixtralCounts) {
  const LoadedModel model = accept(mixtral());
  const ParameterCounts counts = count_parameters(model.shape);
  EXPECT_EQ(counts.total, 3720);
  EXPECT_EQ(counts.active, 2184);
  EXPECT_EQ(counts.active_no_input_embedding, 2104);
  EXPECT_EQ(counts.vectors, 0);
  EXPECT_TRUE(model.notes.empty());
  EXPECT_EQ(model.shape.kinds.size(), 1U);
  EXPECT_EQ(model.shape.first_moe()->score, RouterScore::kSoftmaxOfTopk);
}

TEST(ModelReader, MixtralWindow) {
  json config = mixtral();
  config["sliding_window"] = 4096;
  EXPECT_EQ(accept(config).shape.layer(LayerId(0)).attention.window, 4096);
  config["sliding_window"] = nullptr;
  EXPECT_EQ(accept(config).shape.layer(LayerId(0)).attention.window, 0);
}

TEST(ModelReader, TiedEmbeddingsAreStoredOnce) {
  json config = mixtral();
  config["tie_word_embeddings"] = true;
  const ParameterCounts counts = count_parameters(accept(config).shape);
  EXPECT_EQ(counts.total, 3720 - 80);
  EXPECT_EQ(counts.active, counts.active_no_input_embedding);
}

// MLA: q 8*4*5 = 160, kv down 8*(6+2) = 64, kv up 6*4*(3+4) = 168, out 4*4*8 = 128: 520; norm on the latent 6.
// Dense 3*8*32 = 768; MoE: router 64, shared 3*8*32 = 768, 8 experts of 3*8*16 = 384 each, 8 balance biases.
TEST(ModelReader, DeepseekV3Counts) {
  const ModelShape shape = accept(deepseek()).shape;
  EXPECT_EQ(moe_pattern(shape), "dMMMM");
  const LayerParameters dense = count_layer(shape, LayerId(0));
  const LayerParameters sparse = count_layer(shape, LayerId(1));
  EXPECT_EQ(dense.attention, 526);
  EXPECT_EQ(dense.norms, 16);
  EXPECT_EQ(dense.dense_ffn, 768);
  EXPECT_EQ(dense.router + dense.one_expert + dense.shared, 0);
  EXPECT_EQ(sparse.router, 72);
  EXPECT_EQ(sparse.one_expert, 384);
  EXPECT_EQ(sparse.shared, 768);
  EXPECT_EQ(count_parameters(shape).total, 5 * 536 + 768 + 4 * (64 + 768 + 8 * 384) + 168);
  EXPECT_EQ(count_parameters(shape).vectors, 5 * 6 + 4 * 8);
  EXPECT_EQ(shape.first_moe()->score, RouterScore::kSigmoid);
}

TEST(ModelReader, DeepseekQueryLatentAndGroups) {
  json config = deepseek();
  config.update({{"q_lora_rank", 3}, {"n_group", 4}, {"topk_group", 2}, {"num_nextn_predict_layers", 1}});
  const ModelShape shape = accept(config).shape;
  // 8*3 + 3*20 = 84 in place of 160, and a second latent norm of 3.
  EXPECT_EQ(count_layer(shape, LayerId(0)).attention, 526 - 160 + 84 + 3);
  EXPECT_EQ(shape.first_moe()->groups, 4);
  EXPECT_EQ(shape.first_moe()->top_groups, 2);
  EXPECT_EQ(shape.mtp_layers, 1);
}

TEST(ModelReader, DeepseekV2IsSoftmaxAndGreedyHasNoGroups) {
  json config = deepseek();
  config.update({{"model_type", "deepseek_v2"}, {"topk_method", "greedy"}, {"n_group", 2}, {"topk_group", 1}});
  const MoeShape moe = *accept(config).shape.first_moe();
  EXPECT_EQ(moe.score, RouterScore::kSoftmax);
  EXPECT_FALSE(moe.score_correction_bias);
  EXPECT_EQ(moe.groups, 0);
}

TEST(ModelReader, DeepseekLayerPatterns) {
  json config = deepseek();
  config.update({{"moe_layer_freq", 2}, {"first_k_dense_replace", 2}});
  EXPECT_EQ(moe_pattern(accept(config).shape), "ddMdM");
  config.erase("first_k_dense_replace");
  config["mlp_layer_types"] = {"dense", "sparse", "dense", "sparse", "sparse"};
  EXPECT_EQ(moe_pattern(accept(config).shape), "dMdMM");
  config["mlp_layer_types"] = {"dense", "sparse"};
  EXPECT_THAT(reject(config).what, HasSubstr("lists 2 layers of 5"));
}

TEST(ModelReader, DeepseekWithoutDenseLayersNeedsNoDenseWidth) {
  json config = deepseek();
  config["first_k_dense_replace"] = 0;
  config.erase("intermediate_size");
  EXPECT_EQ(moe_pattern(accept(config).shape), "MMMMM");
}

TEST(ModelReader, AbsentQueryLatentIsAnErrorButNullIsNot) {
  json config = deepseek();
  config.erase("q_lora_rank");
  EXPECT_THAT(reject(config).what, HasSubstr("q_lora_rank (null: none)"));
}

TEST(ModelReader, KimiK2IsDeepseekV3) {
  json config = deepseek();
  config["model_type"] = "kimi_k2";
  const LoadedModel model = accept(config);
  EXPECT_EQ(model.shape.model_type, "kimi_k2");
  EXPECT_EQ(model.shape.kinds, accept(deepseek()).shape.kinds);
}

TEST(ModelReader, Qwen3HeadDimWinsOverHiddenByHeads) {
  const ModelShape shape = accept(qwen3_moe()).shape;
  EXPECT_EQ(shape.layer(LayerId(0)).attention.head_dim, 6);
  // q 8*24, k and v 8*12 each, out 24*8: 576; query and key norms 2*6.
  EXPECT_EQ(count_layer(shape, LayerId(0)).attention, 588);
}

TEST(ModelReader, QwenLayerPattern) {
  json config = qwen3_moe();
  config.update({{"decoder_sparse_step", 2}, {"mlp_only_layers", {3}}});
  EXPECT_EQ(moe_pattern(accept(config).shape), "dMdd");
}

TEST(ModelReader, Qwen2HasBiasesAndOneGatedSharedExpert) {
  json config = qwen3_moe();
  config.update({{"model_type", "qwen2_moe"}, {"shared_expert_intermediate_size", 24}});
  config.erase("head_dim");
  const ModelShape shape = accept(config).shape;
  const LayerParameters layer = count_layer(shape, LayerId(0));
  EXPECT_EQ(layer.attention, 192 + 16);     // 8 + 4 + 4 biases on q, k, v
  EXPECT_EQ(layer.shared, 3 * 8 * 24 + 8);  // and the gate's 8 weights
  EXPECT_TRUE(shape.first_moe()->shared_gate);
}

TEST(ModelReader, Qwen3NextMixesTwoKindsOfAttention) {
  json config = qwen3_moe();
  config.update({{"model_type", "qwen3_next"},
                 {"shared_expert_intermediate_size", 16},
                 {"full_attention_interval", 4},
                 {"linear_num_value_heads", 4},
                 {"linear_num_key_heads", 2},
                 {"linear_key_head_dim", 3},
                 {"linear_value_head_dim", 5},
                 {"linear_conv_kernel_dim", 4}});
  const ModelShape shape = accept(config).shape;
  // keys 6, values 20: q, k, v 8*32, gate 8*20, out 20*8, decay and step 2*8*4 = 640 matrices;
  // convolution 32*4, decay parameters 2*4, output norm 5 = 141.
  EXPECT_EQ(count_layer(shape, LayerId(0)).attention, 640 + 141);
  // full: q and its gate 8*48, k and v 8*24, out 24*8, norms 12.
  EXPECT_EQ(count_layer(shape, LayerId(3)).attention, 384 + 192 + 192 + 12);
  config["layer_types"] = {"full_attention", "linear_attention", "linear_attention", "linear_attention"};
  EXPECT_EQ(accept(config).shape.layer(LayerId(0)).attention.kind, AttentionKind::kGrouped);
}

TEST(ModelReader, OlmoeNormsSpanAllHeads) {
  json config = mixtral();
  config.update({{"model_type", "olmoe"}, {"num_experts", 4}});
  config.erase("num_local_experts");
  config["num_key_value_heads"] = nullptr;
  const LoadedModel model = accept(config);
  EXPECT_EQ(count_layer(model.shape, LayerId(0)).attention, 4 * 64 + 16);
  EXPECT_THAT(model.notes, Contains(HasSubstr("num_key_value_heads")));
}

TEST(ModelReader, DbrxSizesStandOneLevelDown) {
  const json config = {
      {"model_type", "dbrx"},
      {"d_model", 8},
      {"n_layers", 2},
      {"n_heads", 4},
      {"vocab_size", 10},
      {"max_seq_len", 64},
      {"tie_word_embeddings", false},
      {"attn_config", {{"kv_n_heads", 2}, {"model_type", ""}}},
      {"ffn_config", {{"ffn_hidden_size", 16}, {"moe_num_experts", 4}, {"moe_top_k", 2}, {"model_type", ""}}}};
  EXPECT_EQ(count_parameters(accept(config).shape).total, 3720);
  json bare = config;
  bare.erase("ffn_config");
  EXPECT_THAT(reject(bare).what, AllOf(HasSubstr("ffn_config.moe_num_experts"), HasSubstr("ffn_config.moe_top_k"),
                                       HasSubstr("ffn_config.ffn_hidden_size")));
}

TEST(ModelReader, PhimoeBiases) {
  json config = mixtral();
  config.update({{"model_type", "phimoe"},
                 {"attention_bias", true},
                 {"lm_head_bias", true},
                 {"sliding_window", 64},
                 {"max_position_embeddings", 64}});
  const ModelShape shape = accept(config).shape;
  // Per layer 8 + 4 + 4 + 8 attention biases and 16 norm biases; final norm 8, head 10.
  EXPECT_EQ(count_parameters(shape).vectors, 2 * 40 + 18);
  EXPECT_EQ(shape.layer(LayerId(0)).attention.window, 0);
  EXPECT_EQ(shape.first_moe()->score, RouterScore::kSparsemixer);
}

TEST(ModelReader, GptOssBiasesAndWindows) {
  json config = mixtral();
  config.update({{"model_type", "gpt_oss"}, {"head_dim", 2}, {"sliding_window", 128}, {"num_hidden_layers", 4}});
  const LoadedModel model = accept(config);
  EXPECT_EQ(window_pattern(model.shape), "w-w-");
  EXPECT_THAT(model.notes, Contains(HasSubstr("layer_types")));
  const LayerParameters layer = count_layer(model.shape, LayerId(0));
  EXPECT_EQ(layer.attention, 192 + 16 + 8 + 4);  // q, k, v and output biases, sinks
  EXPECT_EQ(layer.router, 32 + 4);
  EXPECT_EQ(layer.one_expert, 384 + 2 * 16 + 8);
  config["layer_types"] = {"full_attention", "full_attention", "sliding_attention", "full_attention"};
  EXPECT_EQ(window_pattern(accept(config).shape), "--w-");
  config["layer_types"][1] = "linear_attention";
  EXPECT_THAT(reject(config).what, HasSubstr("unknown layer type 'linear_attention'"));
}

TEST(ModelReader, GptOssAcceptsAnEqualSecondSpellingAndRefusesAnother) {
  json config = mixtral();
  config.update({{"model_type", "gpt_oss"}, {"head_dim", 2}, {"sliding_window", 128}, {"experts_per_token", 2}});
  EXPECT_EQ(accept(config).shape.first_moe()->top_k, 2);
  config["experts_per_token"] = 3;
  EXPECT_THAT(reject(config).what, HasSubstr("num_experts_per_tok is 2 but experts_per_token is 3"));
}

TEST(ModelReader, Llama4TextConfigIsUnwrapped) {
  const LoadedModel model = accept(llama4());
  EXPECT_EQ(moe_pattern(model.shape), "dMdMdMdM");
  EXPECT_EQ(window_pattern(model.shape), "www-www-");
  EXPECT_TRUE(model.shape.layer(LayerId(0)).attention.chunked);
  EXPECT_EQ(model.shape.model_type, "llama4_text");
  EXPECT_EQ(model.shape.first_moe()->shared.width, 16);
  EXPECT_THAT(model.notes, Contains(HasSubstr("text_config")));
}

TEST(ModelReader, Llama4Lists) {
  json config = llama4();
  config["text_config"]["moe_layers"] = {0, 7};
  config["text_config"]["no_rope_layers"] = {0, 1, 1, 1, 1, 1, 1, 1};
  const ModelShape shape = accept(config).shape;
  EXPECT_EQ(moe_pattern(shape), "MddddddM");
  EXPECT_EQ(window_pattern(shape), "-wwwwwww");
  config["text_config"]["moe_layers"] = {8};
  EXPECT_THAT(reject(config).what, HasSubstr("names layer 8 of 0 to 7"));
  config["text_config"].erase("moe_layers");
  config["text_config"].erase("interleave_moe_layer_step");
  EXPECT_THAT(reject(config).what, HasSubstr("moe_layers (or interleave_moe_layer_step)"));
}

TEST(ModelReader, Glm4HasNoOutputBias) {
  json config = qwen3_moe();
  config.update({{"model_type", "glm4_moe"},
                 {"n_routed_experts", 4},
                 {"n_shared_experts", nullptr},
                 {"attention_bias", true},
                 {"first_k_dense_replace", 1},
                 {"use_qk_norm", true},
                 {"n_group", 1},
                 {"topk_group", 1}});
  config.erase("num_experts");
  const ModelShape shape = accept(config).shape;
  EXPECT_EQ(moe_pattern(shape), "dMMM");
  EXPECT_EQ(count_layer(shape, LayerId(0)).attention, 576 + 24 + 12 + 12 + 12);
  EXPECT_EQ(shape.first_moe()->shared.width, 0);
  config.erase("head_dim");
  EXPECT_THAT(reject(config).what, HasSubstr("head_dim"));
}

TEST(ModelReader, MinimaxM2) {
  json config = mixtral();
  config.update({{"model_type", "minimax_m2"},
                 {"head_dim", 2},
                 {"use_mtp", true},
                 {"num_mtp_modules", 3},
                 {"attn_type_list", {1, 1}},
                 {"shared_intermediate_size", 0}});
  const ModelShape shape = accept(config).shape;
  EXPECT_EQ(count_layer(shape, LayerId(0)).attention, 192 + 8 + 4);  // norms over all heads
  EXPECT_EQ(shape.mtp_layers, 3);
  config["attn_type_list"] = {0, 1};
  EXPECT_THAT(reject(config).what, HasSubstr("linear attention"));
}

TEST(ModelReader, KimiLinear) {
  json config = deepseek();
  config.erase("n_routed_experts");
  config.erase("num_experts_per_tok");
  config.erase("n_shared_experts");
  config.update({{"model_type", "kimi_linear"},
                 {"num_experts", 8},
                 {"num_experts_per_token", 2},
                 {"num_shared_experts", 1},
                 {"num_expert_group", 1},
                 {"topk_group", 1},
                 {"linear_attn_config",
                  {{"num_heads", 2},
                   {"head_dim", 3},
                   {"short_conv_kernel_size", 4},
                   {"full_attn_layers", {4}},
                   {"kda_layers", {1, 2, 3, 5}}}}});
  const ModelShape shape = accept(config).shape;
  EXPECT_EQ(moe_pattern(shape), "dMMMM");
  EXPECT_EQ(shape.layer(LayerId(3)).attention.kind, AttentionKind::kMla);
  // keys = values = 6: q, k, v 8*18, out 6*8, step 8*2, both gates 2*8*3 + 3*(6+6) = 292 matrices;
  // convolution 18*4, decays 2 + 6, output norm 3 = 83.
  EXPECT_EQ(count_layer(shape, LayerId(0)).attention, 292 + 83);
  config["linear_attn_config"]["full_attn_layers"] = {6};
  EXPECT_THAT(reject(config).what, HasSubstr("names layer 6 of 1 to 5"));
}

TEST(ModelReader, DenseLines) {
  json config = mixtral();
  config["model_type"] = "llama";
  EXPECT_EQ(count_parameters(accept(config).shape).total, 2 * (192 + 16 + 384) + 168);
  config["model_type"] = "qwen2";
  EXPECT_EQ(count_parameters(accept(config).shape).vectors, 2 * 16);
  config["model_type"] = "qwen3";
  EXPECT_EQ(count_parameters(accept(config).shape).vectors, 2 * 4);
  config.update({{"model_type", "mistral"}, {"sliding_window", 32}});
  EXPECT_EQ(window_pattern(accept(config).shape), "ww");
}

// Attention 4*64 + 32 biases; FFN of width 32, two matrices: 512 + 32 + 8; norms 2 * (8 + 8); vocabulary tied.
TEST(ModelReader, PlainFields) {
  const LoadedModel model = accept(plain());
  EXPECT_EQ(moe_pattern(model.shape), "MMMM");
  EXPECT_EQ(count_layer(model.shape, LayerId(0)).attention, 288);
  EXPECT_EQ(count_layer(model.shape, LayerId(0)).one_expert, 552);
  EXPECT_EQ(count_layer(model.shape, LayerId(0)).norms, 32);
  EXPECT_EQ(count_parameters(model.shape).total, 4 * (256 + 16 + 32 + 4 * 512) + 80 + 8);
  EXPECT_THAT(model.notes, Contains(HasSubstr("kv_heads, gated, bias, norm, tied_embeddings, learned_positions")));
}

TEST(ModelReader, PlainFieldsInFull) {
  json config = plain();
  config.erase("ffn_multiple");
  config.update({{"name", "mine"},
                 {"kv_heads", 2},
                 {"head_dim", 6},
                 {"gated", true},
                 {"bias", false},
                 {"norm", "rmsnorm"},
                 {"tied_embeddings", false},
                 {"learned_positions", 20},
                 {"moe_every", 2},
                 {"ffn_width", 32},
                 {"expert_width", 16},
                 {"shared_width", 8},
                 {"_note", "keys with an underscore are for people"}});
  const LoadedModel model = accept(config);
  EXPECT_EQ(model.shape.name, "mine");
  EXPECT_EQ(moe_pattern(model.shape), "dMdM");
  EXPECT_TRUE(model.notes.empty());
  const ParameterCounts counts = count_parameters(model.shape);
  // attention 576, norms 16; dense 768; router 32, shared 192, experts 4 * 384.
  EXPECT_EQ(counts.total, 4 * 592 + 2 * 768 + 2 * (32 + 192 + 1536) + 160 + 8 + 160);
  EXPECT_EQ(counts.active - counts.active_no_input_embedding, 80 + 160);
  EXPECT_EQ(counts.vectors, 0);
}

TEST(ModelReader, PlainFieldsTakeTheNumberOfNorms) {
  json config = plain();
  for (const int norms : {0, 1, 4}) {
    config["norms_per_layer"] = norms;
    EXPECT_EQ(count_layer(accept(config).shape, LayerId(0)).norms, norms * 16);
  }
  config["norms_per_layer"] = 5;
  EXPECT_THAT(reject(config).what, HasSubstr("outside the range 0 to 4"));
}

TEST(ModelReader, PlainFieldsTakeMla) {
  json config = plain();
  config.update({{"kv_lora", 6}, {"qk_nope", 3}, {"qk_rope", 2}, {"value_head_dim", 4}, {"bias", false}});
  EXPECT_EQ(count_layer(accept(config).shape, LayerId(0)).attention, 526);
}

// The example of the handbook is a model: 24 layers, every second one MoE.
TEST(ModelReader, TheDocumentedExampleParses) {
  const std::string text = *read_text_file(std::string(MOESIM_SOURCE_DIR) + "/docs/inputs-model.md", 1 << 20);
  const std::size_t begin = text.find("```json") + 7;
  const auto model = parse_model(text.substr(begin, text.find("```", begin) - begin), "docs");
  ASSERT_TRUE(model.has_value()) << model.error().what;
  EXPECT_EQ(model->shape.name, "gpt-moe-24l-32e");
  EXPECT_EQ(model->shape.layer_count(), 24);
  EXPECT_EQ(model->shape.moe_layer_count(), 12);
  // Attention 4 h^2, norms 2 h, FFN 8 h^2 with h = 1024; router 32 h; tables 50304 and 2048 rows; final norm.
  const std::int64_t h = 1024;
  EXPECT_EQ(count_parameters(model->shape).total,
            24 * (4 * h * h + 2 * h) + 12 * 8 * h * h + 12 * (32 * h + 32 * 8 * h * h) + (50304 + 2048) * h + h);
}

TEST(ModelReader, PlainFieldsAreClosed) {
  json config = plain();
  config["expert"] = 3;
  EXPECT_THAT(reject(config).what, HasSubstr("unknown key 'expert' (did you mean 'experts'?)"));
  config = plain();
  config["ffn_width"] = 16;
  EXPECT_THAT(reject(config).what, HasSubstr("stands beside ffn_width"));
  config = plain();
  config.erase("experts");
  EXPECT_THAT(reject(config).what, HasSubstr("is given without experts"));
  config = plain();
  config["norm"] = "batchnorm";
  EXPECT_THAT(reject(config).what, HasSubstr("unknown norm 'batchnorm'"));
  config = plain();
  config["moe_layers"] = {1};
  EXPECT_EQ(moe_pattern(accept(config).shape), "dMdd");
  config["moe_every"] = 2;
  EXPECT_THAT(reject(config).what, HasSubstr("beside a rule"));
}

}  // namespace
}  // namespace moesim
