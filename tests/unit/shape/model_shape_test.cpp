// Counting, checking, FLOPs and the description for people.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/shape/describe.hpp"
#include "models/shape/model_flops.hpp"

namespace moesim {

void PrintTo(const DescriptionRow& row, std::ostream* out) { *out << row.label << ": " << row.value; }

namespace {

using testing::Contains;
using testing::HasSubstr;

// The worked example of model_flops.hpp: hidden 4, vocabulary 10, one layer, 2 heads of 2, two matrices of width 8.
ModelShape tiny() {
  ModelShape shape;
  shape.hidden = 4;
  shape.vocab = 10;
  LayerShape layer;
  layer.attention = {.heads = 2, .kv_heads = 2, .head_dim = 2, .value_head_dim = 2};
  layer.dense = FfnShape{.width = 8, .gated = false};
  append_layer(shape, layer);
  return shape;
}

ModelShape tiny_moe() {
  ModelShape shape = tiny();
  LayerShape& layer = shape.kinds.front();
  layer.dense.reset();
  layer.moe.emplace();
  layer.moe->experts = 4;
  layer.moe->top_k = 2;
  layer.moe->expert.width = 8;
  return shape;
}

TEST(ModelShape, NumbersMoeLayers) {
  ModelShape shape = tiny();
  append_layer(shape, tiny_moe().kinds.front());
  append_layer(shape, tiny().kinds.front());
  append_layer(shape, tiny_moe().kinds.front());
  EXPECT_EQ(shape.moe_layer_numbers(), (std::vector<int>{-1, 0, -1, 1}));
  EXPECT_EQ(shape.moe_layers_before(LayerId(0)), 0);
  EXPECT_EQ(shape.moe_layers_before(LayerId(3)), 1);
  EXPECT_EQ(shape.moe_layer_count(), 2);
}

TEST(ModelShape, AppendKeepsDistinctKinds) {
  ModelShape shape = tiny();
  append_layer(shape, shape.kinds.front());
  append_layer(shape, tiny_moe().kinds.front());
  EXPECT_EQ(shape.kinds.size(), 2U);
  EXPECT_EQ(shape.layers, (std::vector<std::int32_t>{0, 0, 1}));
  EXPECT_EQ(shape.moe_layer_count(), 1);
  EXPECT_EQ(shape.first_moe()->experts, 4);
}

TEST(ModelShape, CheckNamesTheField) {
  const auto broken = [](auto change) {
    ModelShape shape = tiny_moe();
    change(shape);
    const Status status = check(shape);
    EXPECT_FALSE(status.has_value());
    return status ? std::string() : status.error().what;
  };
  EXPECT_TRUE(check(tiny()).has_value());
  EXPECT_TRUE(check(tiny_moe()).has_value());
  EXPECT_THAT(broken([](ModelShape& s) { s.hidden = 0; }), HasSubstr("hidden size is 0"));
  EXPECT_THAT(broken([](ModelShape& s) { s.vocab = -1; }), HasSubstr("vocabulary is -1"));
  EXPECT_THAT(broken([](ModelShape& s) { s.layers.clear(); }), HasSubstr("number of layers is 0"));
  EXPECT_THAT(broken([](ModelShape& s) { s.layers[0] = 1; }), HasSubstr("layer kind is 1"));
  EXPECT_THAT(broken([](ModelShape& s) { s.kinds.push_back(s.kinds[0]); }), HasSubstr("used by no layer"));
  EXPECT_THAT(broken([](ModelShape& s) { s.kinds[0].dense = FfnShape{.width = 1}; }),
              HasSubstr("either a dense FFN or"));
  EXPECT_THAT(broken([](ModelShape& s) { s.kinds[0].moe.reset(); }), HasSubstr("either a dense FFN or"));
  EXPECT_THAT(broken([](ModelShape& s) { s.kinds[0].attention.value_head_dim = 0; }),
              HasSubstr("layer 0: value_head_dim is 0"));
  EXPECT_THAT(broken([](ModelShape& s) { s.kinds[0].moe->shared_gate = true; }), HasSubstr("without a shared expert"));
  EXPECT_THAT(broken([](ModelShape& s) { s.kinds[0].moe->expert.width = 0; }), HasSubstr("expert width is 0"));
  EXPECT_THAT(broken([](ModelShape& s) {
                s.kinds[0].attention.kind = AttentionKind::kMla;
                s.kinds[0].attention.kv_lora = 4;
              }),
              HasSubstr("head_dim 2 is not qk_nope 0 + qk_rope 0"));
}

TEST(ModelFlops, WorkedNumber) { EXPECT_EQ(model_flops_per_token(tiny(), 6).value(), 1152); }

// Two of four experts of 3*4*8 and the router 4*4 in place of the dense 64: 64 + 192 + 16 + 40 = 312 weights.
TEST(ModelFlops, OnlyActiveExpertsCount) { EXPECT_EQ(model_flops_per_token(tiny_moe(), 6).value(), 6 * 312 + 144); }

TEST(ModelFlops, TyingDoesNotChangeTheWork) {
  ModelShape tied = tiny();
  tied.tied_embeddings = true;
  EXPECT_EQ(model_flops_per_token(tied, 6).value(), 1152);
}

TEST(ModelFlops, KeysSeen) {
  AttentionShape attention = tiny().kinds.front().attention;
  EXPECT_EQ(average_keys_seen(attention, 100), 50);
  attention.window = 20;
  EXPECT_EQ(average_keys_seen(attention, 100), 20 - 400.0 / 200);
  EXPECT_EQ(average_keys_seen(attention, 20), 10);
  EXPECT_EQ(average_keys_seen(attention, 10), 5);
  attention.chunked = true;
  EXPECT_EQ(average_keys_seen(attention, 100), 10);
  attention.kind = AttentionKind::kLinear;
  EXPECT_EQ(average_keys_seen(attention, 100), 0);
}

// A delta net of one head, 2 x 2 state: q, k, v 3*8, gate 8, out 8, decay and step 2*4 = 48 weights, state 3*4 products.
TEST(ModelFlops, LinearAttentionDoesNotGrowWithTheSequence) {
  ModelShape shape = tiny();
  shape.kinds[0].attention = {
      .kind = AttentionKind::kLinear, .heads = 1, .kv_heads = 1, .head_dim = 2, .value_head_dim = 2};
  EXPECT_EQ(model_flops_per_token(shape, 6).value(), 6 * (48 + 64 + 40 + 12));
  EXPECT_EQ(model_flops_per_token(shape, 6), model_flops_per_token(shape, 4096));
}

// 6 * (37 550 M active weights less 926 M input embedding, less 881 664 norms) = 219.75 GFLOP, and 61 layers of 128
// heads * (192 + 128) * 2048 keys * 6 = 30.70 GFLOP at a sequence of 4096.
TEST(ModelFlops, DeepseekV3) {
  const ModelShape shape = load_model("zoo:deepseek-v3")->shape;
  EXPECT_EQ(model_flops_per_token(shape, 4096).value(), 6.0 * (36625478656 - 881664) + 6.0 * 61 * 128 * 320 * 2048);
}

TEST(ModelDescribe, RowsSayWhatMatters) {
  const LoadedModel model = *load_model("zoo:deepseek-v3");
  const std::vector<DescriptionRow> rows = describe(model);
  EXPECT_THAT(rows, Contains(DescriptionRow{"layers", "61"}));
  EXPECT_THAT(rows, Contains(DescriptionRow{"MoE layers", "58"}));
  EXPECT_THAT(rows, Contains(DescriptionRow{"parameters", "671026279424 (671.03 B)"}));
  EXPECT_THAT(rows, Contains(DescriptionRow{"active per token", "37552157696 (37.55 B)"}));
  EXPECT_THAT(rows, Contains(DescriptionRow{
                        "layers 0-2", "latent (MLA), 128 heads, latents q 1536 kv 512, head dims 128+64 and 128"}));
  EXPECT_THAT(
      rows,
      Contains(DescriptionRow{
          "  MoE", "256 experts, 8 per token, width 2048, 3 matrices; shared width 2048; 4 of 8 groups per token"}));
  EXPECT_THAT(rows, Contains(DescriptionRow{"MTP modules", "1, not counted below"}));
  EXPECT_THAT(rows, Contains(DescriptionRow{"weights in bf16", "1.22 TiB"}));
}

TEST(ModelDescribe, AlternatingLayersAreShortened) {
  const std::vector<DescriptionRow> rows = describe(*load_model("zoo:gpt-oss-20b"));
  EXPECT_THAT(
      rows, Contains(DescriptionRow{"layers 0, 2, 4, ... 22",
                                    "grouped-query, 64 heads, 8 key-value heads, head dim 64, window of 128 tokens"}));
}

TEST(ModelDescribe, NotesComeLast) {
  LoadedModel model = *load_model("zoo:dbrx");
  model.notes = {"first", "second"};
  const std::vector<DescriptionRow> rows = describe(model);
  EXPECT_EQ(rows.back(), (DescriptionRow{"note", "second"}));
}

}  // namespace
}  // namespace moesim
