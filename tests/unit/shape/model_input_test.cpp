// Everything that can be wrong with a model file, unknown types, and what surrounds the file.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "model_files.hpp"

namespace moesim {
namespace {

using namespace model_files;
using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;

TEST(ModelReader, AllMissingKeysAtOnce) {
  json config = mixtral();
  for (const char* key : {"hidden_size", "num_hidden_layers", "num_local_experts", "num_key_value_heads"})
    config.erase(key);
  config["num_hiden_layers"] = 2;
  const Error error = reject(config);
  EXPECT_THAT(error.what, AllOf(HasSubstr("'mixtral' needs hidden_size"), HasSubstr("num_hidden_layers"),
                                HasSubstr("n_routed_experts (or num_local_experts"), HasSubstr("num_key_value_heads"),
                                HasSubstr("are missing")));
  EXPECT_EQ(error.where, "config.json#");
  EXPECT_THAT(error.hint, HasSubstr("'num_hiden_layers': is that num_hidden_layers?"));
}

// The rule that no class default is a fact: every key that the small file needs is an error when it is gone.
TEST(ModelReader, EveryShapeKeyIsNeeded) {
  for (const json& whole : {mixtral(), deepseek(), qwen3_moe()}) {
    for (const auto& item : whole.items()) {
      const std::string& key = item.key();
      if (key == "model_type" || key == "tie_word_embeddings" || key == "head_dim") continue;
      if (whole["model_type"] == "deepseek_v3" && key == "num_key_value_heads") continue;
      if (whole["model_type"] == "qwen3_moe" && key == "intermediate_size") continue;  // no dense layer in this one
      json config = whole;
      config.erase(key);
      const auto model = read(config);
      ASSERT_FALSE(model.has_value()) << whole["model_type"] << " without " << key;
      EXPECT_THAT(model.error().what, HasSubstr(key));
    }
  }
}

TEST(ModelReader, WrongTypesAndRangesNameTheKey) {
  const std::pair<json, std::string> bad[] = {{-1, "outside the range"},
                                              {0, "outside the range"},
                                              {"8", "expected a whole number"},
                                              {2.5, "expected a whole number"},
                                              {1e30, "whole number"},
                                              {json::array(), "expected a whole number"},
                                              {true, "expected a whole number"},
                                              {10000000000, "outside the range"}};
  for (const char* key : {"hidden_size", "num_hidden_layers", "num_local_experts", "num_attention_heads", "vocab_size",
                          "intermediate_size"}) {
    for (const auto& [value, text] : bad) {
      json config = mixtral();
      config[key] = value;
      const Error error = reject(config);
      EXPECT_EQ(error.where, std::string("config.json#/") + key) << value;
      EXPECT_THAT(error.what, HasSubstr(text));
    }
  }
  json config = mixtral();
  config["tie_word_embeddings"] = "no";
  EXPECT_EQ(reject(config).where, "config.json#/tie_word_embeddings");
}

TEST(ModelReader, SizesThatDoNotFitTogether) {
  const auto with = [](const char* key, const json& value) {
    json config = mixtral();
    config[key] = value;
    return reject(config).what;
  };
  EXPECT_THAT(with("num_experts_per_tok", 5), HasSubstr("layer 0: top_k is 5, outside 1 to the 4 experts"));
  EXPECT_THAT(with("num_key_value_heads", 3), HasSubstr("4 attention heads do not divide among 3 key-value heads"));
  EXPECT_THAT(with("hidden_size", 9), HasSubstr("hidden 9 does not divide among 4 heads"));
  json config = deepseek();
  config.update({{"n_group", 3}, {"topk_group", 1}});
  EXPECT_THAT(reject(config).what, HasSubstr("layer 1: 8 experts do not divide into 3 groups"));
  config.update({{"n_group", 4}, {"topk_group", 5}});
  EXPECT_THAT(reject(config).what, HasSubstr("expert groups per token is 5, outside 1 to 4"));
  config.update({{"n_group", 8}, {"topk_group", 1}});
  EXPECT_THAT(reject(config).what, HasSubstr("top_k 2 is more than the 1 experts of 1 groups"));
  config.erase("topk_group");
  EXPECT_THAT(reject(config).what, HasSubstr("topk_group"));
}

TEST(ModelReader, LegalSizesWithAnAbsurdProduct) {
  json config = mixtral();
  config.update({{"hidden_size", 1000000},
                 {"head_dim", 100},
                 {"num_hidden_layers", 10000},
                 {"num_local_experts", 100000},
                 {"intermediate_size", 10000000}});
  EXPECT_THAT(reject(config).what, HasSubstr("more than 1e+16 parameters"));
}

TEST(ModelReader, UnknownTypeFilledByAliases) {
  json config = mixtral();
  config["model_type"] = "granitemoe";
  const LoadedModel model = accept(config);
  EXPECT_EQ(count_parameters(model.shape).total, 3720);
  EXPECT_THAT(model.notes, Contains(HasSubstr("unknown model_type 'granitemoe'")));
  EXPECT_THAT(model.notes, Contains(AllOf(HasSubstr("filled from these keys"), HasSubstr("num_local_experts"))));
}

TEST(ModelReader, OldDeepseekVocabularyWithoutType) {
  const json config = {{"dim", 8},
                       {"inter_dim", 32},
                       {"moe_inter_dim", 16},
                       {"n_layers", 5},
                       {"n_dense_layers", 1},
                       {"n_heads", 4},
                       {"n_routed_experts", 8},
                       {"n_shared_experts", 2},
                       {"n_activated_experts", 2},
                       {"vocab_size", 10},
                       {"q_lora_rank", 0},
                       {"kv_lora_rank", 6},
                       {"qk_nope_head_dim", 3},
                       {"qk_rope_head_dim", 2},
                       {"v_head_dim", 4}};
  EXPECT_EQ(count_parameters(accept(config).shape).total, count_parameters(accept(deepseek()).shape).total);
}

TEST(ModelReader, AliasPatternList) {
  json config = mixtral();
  config.update({{"model_type", "other"}, {"moe_layer_freq", {0, 1}}, {"moe_intermediate_size", 4}});
  const ModelShape shape = accept(config).shape;
  EXPECT_EQ(moe_pattern(shape), "dM");
  EXPECT_EQ(shape.first_moe()->expert.width, 4);
  EXPECT_EQ(shape.layer(LayerId(0)).dense->width, 16);
}

TEST(ModelReader, UnknownTypeListsWhatIsMissingAndTheWayOut) {
  const Error error = reject({{"model_type", "mixtrall"}, {"hidden_size", 8}});
  EXPECT_THAT(error.what,
              AllOf(HasSubstr("unknown model_type 'mixtrall' (did you mean 'mixtral'?)"), HasSubstr("vocab_size"),
                    HasSubstr("num_hidden_layers (or n_layers"), HasSubstr("num_attention_heads")));
  EXPECT_THAT(error.hint, AllOf(HasSubstr("gpt_moe"), HasSubstr("deepseek_v3")));
  EXPECT_THAT(reject(json::object()).what, HasSubstr("no model_type is given"));
}

TEST(ModelReader, AliasesRefuseLayersTheyCannotHold) {
  json config = mixtral();
  config.update({{"model_type", "jamba"}, {"mamba_d_state", 16}});
  EXPECT_THAT(reject(config).what, HasSubstr("state-space"));
  config.erase("mamba_d_state");
  config["is_encoder_decoder"] = true;
  EXPECT_THAT(reject(config).what, HasSubstr("encoder-decoder"));
}

TEST(ModelReader, ArchitectureStandsInForTheType) {
  json config = mixtral();
  config.erase("model_type");
  config["architectures"] = {"MixtralForCausalLM"};
  EXPECT_TRUE(accept(config).notes.empty());
  config["architectures"] = {"Qwen3MoeForCausalLM"};
  config["model_type"] = "unheard_of";
  EXPECT_THAT(reject(config).what, HasSubstr("moe_intermediate_size"));
  config["architectures"] = "MixtralForCausalLM";
  EXPECT_EQ(reject(config).where, "config.json#/architectures");
}

TEST(ModelReader, NewSpellingsAndForeignKeysDoNotDisturb) {
  json config = mixtral();
  config.update({{"dtype", "bfloat16"},
                 {"rope_parameters", {{"rope_type", "default"}, {"rope_theta", 1e6}}},
                 {"rope_scaling", nullptr},
                 {"head_dim", nullptr},
                 {"sliding_window", nullptr},
                 {"eos_token_id", {1, 2}},
                 {"num_experts", 4},
                 {"auto_map", json::object()}});
  EXPECT_EQ(count_parameters(accept(config).shape).total, 3720);
}

TEST(ModelReader, NotesOnQuantisationAndTies) {
  json config = mixtral();
  config["quantization_config"] = {{"quant_method", "fp8"}};
  config.erase("tie_word_embeddings");
  const LoadedModel model = accept(config);
  EXPECT_THAT(model.notes, Contains(HasSubstr("quantization_config")));
  EXPECT_THAT(model.notes, Contains(HasSubstr("tie_word_embeddings")));
}

TEST(ModelReader, TextThatIsNoModel) {
  const std::string whole = mixtral().dump();
  for (std::size_t length = 0; length < whole.size(); ++length)
    EXPECT_FALSE(parse_model(whole.substr(0, length), "config.json").has_value()) << length;
  EXPECT_THAT(parse_model("[]", "x").error().what, HasSubstr("expected a model description"));
  EXPECT_THAT(parse_model(R"({"model_type": 3})", "x").error().where, HasSubstr("x#/model_type"));
  EXPECT_THAT(parse_model(R"({"text_config": 3})", "x").error().where, HasSubstr("x#/text_config"));
}

class ModelReaderFiles : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(testing::TempDir()) / testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  void write(const char* name, const json& content) { std::ofstream(folder_ / name) << content; }
  std::filesystem::path folder_;
};

TEST_F(ModelReaderFiles, AFolderStandsForItsConfig) {
  write("config.json", mixtral());
  const auto model = load_model(folder_.string());
  ASSERT_TRUE(model.has_value());
  EXPECT_EQ(model->shape.name, "AFolderStandsForItsConfig");
  EXPECT_FALSE(load_model((folder_ / "absent.json").string()).has_value());
}

TEST_F(ModelReaderFiles, CheckpointIndexIsCompared) {
  json config = mixtral();
  config["torch_dtype"] = "bfloat16";
  write("config.json", config);
  write("model.safetensors.index.json", {{"metadata", {{"total_size", 2 * 3720}}}});
  EXPECT_TRUE(load_model(folder_.string())->notes.empty());
  write("model.safetensors.index.json", {{"metadata", {{"total_size", 4 * 3720}}}});
  EXPECT_THAT(load_model(folder_.string())->notes,
              Contains(HasSubstr("holds 7440 numbers, this shape has 3720 (-50.00 %)")));
  write("model.safetensors.index.json", json::array());
  EXPECT_THAT(load_model(folder_.string())->notes, Contains(HasSubstr("cannot be read")));
}

}  // namespace
}  // namespace moesim
