// The shipped models against published sizes: 21 rows of total, active and active-without-input-embedding.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "models/shape/model_source.hpp"

namespace moesim {
namespace {

struct Row {
  const char* zoo;
  const char* id;
  int layers;
  int moe_layers;
  std::int64_t total;
  std::int64_t active;
  std::int64_t active_no_input;
};

// Weight matrices, norms of width hidden and embeddings; no biases, no small norms, no MTP modules.
constexpr Row kTable[] = {
    {"mixtral-8x7b", "mistralai/Mixtral-8x7B-v0.1", 32, 32, 46702792704, 12879925248, 12748853248},
    {"mixtral-8x22b", "mistralai/Mixtral-8x22B-v0.1", 56, 56, 140620634112, 39152031744, 38955423744},
    {"qwen1.5-moe-a2.7b", "Qwen/Qwen1.5-MoE-A2.7B", 24, 24, 14315587584, 2688976896, 2377811968},
    {"qwen2-57b-a14b", "Qwen/Qwen2-57B-A14B", 28, 28, 57408429568, 14249041408, 13704502784},
    {"qwen3-30b-a3b", "Qwen/Qwen3-30B-A3B", 48, 48, 30532110336, 3353020416, 3041855488},
    {"qwen3-235b-a22b", "Qwen/Qwen3-235B-A22B", 94, 94, 235093610496, 22190739456, 21568409600},
    {"qwen3-next-80b-a3b", "Qwen/Qwen3-Next-80B-A3B", 48, 48, 79039236096, 3239774208, 2928609280},
    {"deepseek-v2-lite", "deepseek-ai/DeepSeek-V2-Lite", 27, 26, 15706470400, 2661136384, 2451421184},
    {"deepseek-v2", "deepseek-ai/DeepSeek-V2", 60, 59, 235741312000, 21375677440, 20851389440},
    {"deepseek-v3", "deepseek-ai/DeepSeek-V3", 61, 58, 671026279424, 37552157696, 36625478656},
    {"kimi-k2", "moonshotai/Kimi-K2-Base", 61, 60, 1026408084480, 32861352960, 31686947840},
    {"olmoe-1b-7b", "allenai/OLMoE-1B-7B-0924", 16, 16, 6919096320, 1281951744, 1178929152},
    {"dbrx", "databricks/dbrx-base", 40, 40, 131596523520, 36469708800, 35853146112},
    {"phi-3.5-moe", "microsoft/Phi-3.5-MoE-instruct", 32, 32, 41872527360, 6640373760, 6509039616},
    {"gpt-oss-20b", "openai/gpt-oss-20b", 24, 24, 20907927360, 4186416960, 3607283520},
    {"gpt-oss-120b", "openai/gpt-oss-120b", 36, 36, 116789048640, 5710443840, 5131310400},
    {"llama4-scout", "meta-llama/Llama-4-Scout-17B-16E", 48, 48, 107769861120, 17172894720, 16138408960},
    {"llama4-maverick", "meta-llama/Llama-4-Maverick-17B-128E", 48, 24, 400711848960, 17184691200, 16150205440},
    {"glm-4.5", "zai-org/GLM-4.5", 92, 89, 352796472320, 33630909440, 32854963200},
    {"glm-4.5-air", "zai-org/GLM-4.5-Air", 46, 45, 106851586048, 13423464448, 12802707456},
    {"minimax-m2", "MiniMaxAI/MiniMax-M2", 62, 62, 228689304576, 11030092800, 10415496192},
};

LoadedModel load(const std::string& source) {
  auto model = load_model(source);
  EXPECT_TRUE(model.has_value()) << source << ": " << (model ? "" : model.error().what + " at " + model.error().where);
  return model ? *std::move(model) : LoadedModel{};
}

// The published row of Qwen3-Next counts every layer as grouped attention without output gate.
ModelShape as_the_table_counts(ModelShape shape) {
  const auto full = std::find_if(shape.kinds.begin(), shape.kinds.end(),
                                 [](const LayerShape& kind) { return kind.attention.kind != AttentionKind::kLinear; });
  if (full == shape.kinds.end()) return shape;
  const AttentionShape attention = full->attention;
  for (LayerShape& kind : shape.kinds) {
    if (kind.attention.kind == AttentionKind::kLinear) kind.attention = attention;
    kind.attention.output_gate = false;
  }
  return shape;
}

class ZooTable : public testing::TestWithParam<Row> {};

TEST_P(ZooTable, CountsEqualThePublishedRow) {
  const Row row = GetParam();
  const LoadedModel model = load(std::string("zoo:") + row.zoo);
  ASSERT_TRUE(check(model.shape));
  EXPECT_EQ(model.shape.name, row.zoo);
  EXPECT_EQ(model.shape.layer_count(), row.layers);
  EXPECT_EQ(model.shape.moe_layer_count(), row.moe_layers);
  const ParameterCounts counts = count_parameters(as_the_table_counts(model.shape));
  EXPECT_EQ(counts.total, row.total);
  EXPECT_EQ(counts.active, row.active);
  EXPECT_EQ(counts.active_no_input_embedding, row.active_no_input);
}

TEST_P(ZooTable, TheHubIdNamesTheSameModel) {
  const Row row = GetParam();
  const LoadedModel by_id = load(std::string("zoo:") + row.id);
  const LoadedModel by_name = load(std::string("zoo:") + row.zoo);
  EXPECT_EQ(by_id.shape.name, row.zoo);
  EXPECT_EQ(by_id.shape.kinds, by_name.shape.kinds);
}

// Every part of every layer, embeddings, head and final norm add up to what a checkpoint stores.
TEST_P(ZooTable, LayersAddUpToTheStoredTotal) {
  const LoadedModel model = load(std::string("zoo:") + GetParam().zoo);
  const ModelShape& shape = model.shape;
  std::int64_t sum = shape.vocab * shape.hidden * 2 + shape.hidden * (shape.norm_bias ? 2 : 1);
  sum += shape.lm_head_bias ? shape.vocab : 0;
  for (int i = 0; i < shape.layer_count(); ++i) {
    const LayerParameters layer = count_layer(shape, LayerId(i));
    sum += layer.attention + layer.norms + layer.dense_ffn + layer.router + layer.shared;
    if (const auto& moe = shape.layer(LayerId(i)).moe) sum += layer.one_expert * moe->experts;
  }
  EXPECT_EQ(sum, count_parameters(shape).stored());
}

INSTANTIATE_TEST_SUITE_P(Models, ZooTable, testing::ValuesIn(kTable), [](const auto& row) {
  std::string name = row.param.zoo;
  std::erase_if(name, [](char c) { return c == '-' || c == '.'; });
  return name;
});

// Numbers that the published checkpoints hold, MTP modules left out. Hand sums in terms of the table:
//   deepseek-v3  + 61 * (1536 + 512) latent norms + 58 * 256 balance biases
//   gpt-oss-20b  + 24 * (5120 qkv + 2880 out + 64 sinks + 32 router + 32 * (5760 + 2880) expert biases)
//   phi-3.5-moe  + 32 * 10240 attention biases + 65 * 4096 norm biases + 32064 head bias
TEST(Zoo, StoredTotalsHoldTheVectors) {
  const auto stored = [](const char* name) {
    return count_parameters(load(std::string("zoo:") + name).shape).stored();
  };
  EXPECT_EQ(stored("mixtral-8x7b"), 46702792704);
  EXPECT_EQ(stored("deepseek-v3"), 671026419200);
  EXPECT_EQ(stored("deepseek-v2-lite"), 15706484224);
  EXPECT_EQ(stored("kimi-k2"), 1026408232448);
  EXPECT_EQ(stored("gpt-oss-20b"), 20914757184);
  EXPECT_EQ(stored("phi-3.5-moe"), 41873153344);
  EXPECT_EQ(stored("qwen3-30b-a3b"), 30532122624);      // + 48 * 2 * 128 query and key norms
  EXPECT_EQ(stored("qwen1.5-moe-a2.7b"), 14315784192);  // + 24 * (6144 qkv biases + 2048 shared gate)
  EXPECT_EQ(stored("olmoe-1b-7b"), 6919161856);         // + 16 * 4096: norms over all heads
}

// 36 of 48 layers are gated delta nets. Matrices of one: q, k, v 2048 * (2 * 2048 + 4096) = 16 777 216, output gate
// 2048 * 4096, output 4096 * 2048, decay and step size 2 * 2048 * 32: 33 685 504 against 18 874 368 of grouped
// attention. The output gate adds 2048 * 4096 to each of the 12 full layers.
//   79 039 236 096 + 36 * 14 811 136 + 12 * 8 388 608 = 79 673 100 288
TEST(Zoo, Qwen3NextCountsItsLinearLayers) {
  const LoadedModel model = load("zoo:qwen3-next-80b-a3b");
  EXPECT_EQ(count_parameters(model.shape).total, 79673100288);
  EXPECT_EQ(model.shape.layer(LayerId(2)).attention.kind, AttentionKind::kLinear);
  EXPECT_EQ(model.shape.layer(LayerId(3)).attention.kind, AttentionKind::kGrouped);
  EXPECT_THAT(model.notes, testing::Contains(testing::HasSubstr("79039236096")));
}

TEST(Zoo, DenseModels) {
  EXPECT_EQ(count_parameters(load("zoo:llama3-8b").shape).total, 8030261248);
  EXPECT_EQ(count_parameters(load("zoo:llama3-70b").shape).total, 70553706496);
  EXPECT_EQ(load("zoo:llama3-8b").shape.first_moe(), nullptr);
}

TEST(Zoo, NamesAreFoundWithoutRegardToCase) {
  EXPECT_EQ(load("zoo:Qwen1.5-MoE-A2.7B").shape.name, "qwen1.5-moe-a2.7b");
}

TEST(Zoo, EveryNameLoads) {
  EXPECT_EQ(zoo_names().size(), std::size(kTable) + 2);
  for (const std::string& name : zoo_names()) EXPECT_TRUE(load_model("zoo:" + name).has_value()) << name;
}

TEST(Zoo, UnknownNameSuggestsAndLists) {
  const auto model = load_model("zoo:mixtral-8x7");
  ASSERT_FALSE(model.has_value());
  EXPECT_EQ(model.error().kind, ErrorKind::kUsage);
  EXPECT_THAT(model.error().what, testing::HasSubstr("did you mean 'mixtral-8x7b'?"));
  EXPECT_THAT(model.error().hint, testing::HasSubstr("deepseek-v3"));
}

TEST(Zoo, BareNameSaysHowToWriteIt) {
  const auto model = load_model("Mixtral-8x7B");
  ASSERT_FALSE(model.has_value());
  EXPECT_THAT(model.error().hint, testing::HasSubstr("zoo:mixtral-8x7b"));
}

}  // namespace
}  // namespace moesim
