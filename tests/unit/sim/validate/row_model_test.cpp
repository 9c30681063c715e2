#include "sim/validate/row_model.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "training_file.hpp"

namespace moesim {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

ModelShape model(const RowCells& cells) {
  RowNotes notes;
  const OrSkipped<ModelShape> shape = model_of(read_row(changed(cells)), notes);
  EXPECT_TRUE(shape.has_value()) << (shape ? "" : shape.error());
  return shape ? *shape : ModelShape();
}

std::string model_refusal(const RowCells& cells) {
  RowNotes notes;
  const OrSkipped<ModelShape> shape = model_of(read_row(changed(cells)), notes);
  return shape ? "predicted" : shape.error();
}

Plan plan(const RowCells& cells) {
  RowNotes notes;
  const OrSkipped<Plan> made = plan_of(read_row(changed(cells)), notes);
  EXPECT_TRUE(made.has_value()) << (made ? "" : made.error());
  return made ? *made : Plan();
}

std::string plan_refusal(const RowCells& cells) {
  RowNotes notes;
  const OrSkipped<Plan> made = plan_of(read_row(changed(cells)), notes);
  return made ? "predicted" : made.error();
}

RowNotes plan_notes_of(const RowCells& cells) {
  RowNotes notes;
  const auto made = plan_of(read_row(changed(cells)), notes);
  EXPECT_TRUE(made.has_value());
  return notes;
}

TEST(RowModel, DenseLayersComeFirst) {
  const ModelShape shape = model({});
  ASSERT_EQ(shape.layer_count(), 4);
  EXPECT_EQ(shape.layer(LayerId(0)).dense->width, 4096);
  for (int i = 1; i < 4; ++i) {
    ASSERT_TRUE(shape.layer(LayerId(i)).moe.has_value()) << i;
    EXPECT_EQ(shape.layer(LayerId(i)).moe->experts, 16);
    EXPECT_EQ(shape.layer(LayerId(i)).moe->expert.width, 512);
    EXPECT_EQ(shape.layer(LayerId(i)).moe->shared.width, 512);  // one shared expert
    EXPECT_TRUE(shape.layer(LayerId(i)).moe->expert.gated);
  }
  EXPECT_FALSE(shape.norm_bias);
}

TEST(RowModel, DenseModelHasNoExperts) {
  const ModelShape shape =
      model({{"experts", ""}, {"topk", ""}, {"ffn_moe", ""}, {"shared_experts", ""}, {"dense_layers", "4"}});
  EXPECT_EQ(shape.moe_layer_count(), 0);
  EXPECT_EQ(shape.layer_count(), 4);
}

TEST(RowModel, LatentAttentionReadsItsSizesFromTheText) {
  const ModelShape shape =
      model({{"attention", "MLA q_lora1536 kv_lora512 rope64"}, {"head_dim", "qk192/v128"}, {"kv_heads", "16"}});
  const AttentionShape& attention = shape.layer(LayerId(0)).attention;
  EXPECT_EQ(attention.kind, AttentionKind::kMla);
  EXPECT_EQ(attention.q_lora, 1536);
  EXPECT_EQ(attention.kv_lora, 512);
  EXPECT_EQ(attention.qk_rope, 64);
  EXPECT_EQ(attention.qk_nope, 128);  // 192 - 64
  EXPECT_EQ(attention.head_dim, 192);
  EXPECT_EQ(attention.value_head_dim, 128);
}

TEST(RowModel, BareMlaTakesTheSmallModelsLatents) {
  RowNotes notes;
  const auto shape =
      model_of(read_row(changed({{"attention", "MLA"}, {"head_dim", "qk192/v128"}, {"kv_heads", "16"}})), notes);
  ASSERT_TRUE(shape.has_value());
  EXPECT_EQ(shape->layer(LayerId(0)).attention.q_lora, 0);
  EXPECT_EQ(shape->layer(LayerId(0)).attention.kv_lora, 512);
  EXPECT_THAT(notes, Contains(HasSubstr("latent sizes not published")));
}

TEST(RowModel, AlternatingWindowsStartWithASlidingLayer) {
  const ModelShape shape = model({{"attention", "GQA alternating sliding window 128"}});
  std::vector<std::int64_t> windows;
  for (int i = 0; i < 4; ++i) windows.push_back(shape.layer(LayerId(i)).attention.window);
  EXPECT_THAT(windows, ElementsAre(128, 0, 128, 0));
}

TEST(RowModel, GptAndFastMoeFfnsHaveTwoMatrices) {
  EXPECT_FALSE(model({{"attention", "MHA, GELU FFN"}}).layer(LayerId(0)).dense->gated);
  const ModelShape fast =
      model({{"framework", "Megatron-LM + FastMoE (fastmoe)"}, {"ffn_moe", "4h/topk (FastMoE default)"}});
  EXPECT_FALSE(fast.first_moe()->expert.gated);
  EXPECT_EQ(fast.first_moe()->expert.width, 2048);  // 4 * 1024 / 2
}

TEST(RowModel, MultiTokenPredictionIsOneMoreLayer) {
  EXPECT_EQ(model({{"caveats", "MTP included unless \"\"w/o MTP\"\""}}).layer_count(), 5);
  EXPECT_EQ(model({{"caveats", "variant: w/o MTP; MTP included unless \"\"w/o MTP\"\""}}).layer_count(), 4);
}

TEST(RowModel, SaysWhatIsMissing) {
  EXPECT_EQ(model_refusal({{"vocab", ""}}), "layers, width or vocabulary not published");
  EXPECT_EQ(model_refusal({{"head_dim", ""}}), "head dimension not published");
  EXPECT_EQ(model_refusal({{"heads", ""}}), "number of heads not published");
  EXPECT_EQ(model_refusal({{"topk", ""}}), "experts per token not published");
  EXPECT_EQ(model_refusal({{"ffn_moe", "large"}}), "expert width not published");
  EXPECT_EQ(model_refusal({{"ffn_dense", ""}}), "FFN width not published");
  EXPECT_EQ(model_refusal({{"dense_layers", "5"}}), "number of layers makes no sense");
  EXPECT_THAT(model_refusal({{"topk", "17"}}), HasSubstr("model refused"));
}

TEST(RowPlan, DerivesWhatFollows) {
  const Plan made = plan({});
  EXPECT_EQ(made.sizes().dp, 8);   // 16 / 2
  EXPECT_EQ(made.sizes().edp, 1);  // 16 / (2 * 8)
  EXPECT_EQ(made.micro_batches(), 4);
  EXPECT_EQ(made.pipeline, "1f1b");
  EXPECT_EQ(made.precision, "bf16");
  EXPECT_EQ(made.zero_dense, ZeroStage::kOptimizer);
  EXPECT_TRUE(made.sequence_parallel);
  EXPECT_TRUE(made.overlap_grad_reduce);
  EXPECT_EQ(made.capacity_factor, 0);
}

TEST(RowPlan, BatchFromWhatIsPublished) {
  const Plan from_count = plan({{"gbs", ""}, {"ga", "4"}, {"mbs", "2"}});
  EXPECT_EQ(from_count.global_batch, 64);  // 2 * 4 * 8
  const Plan from_global = plan({{"mbs", ""}, {"ga", "2"}});
  EXPECT_EQ(from_global.micro_batch, 2);  // 32 / (2 * 8)
  EXPECT_EQ(plan({{"mbs", ""}}).micro_batch, 1);
  EXPECT_THAT(plan_notes_of({{"mbs", ""}}), Contains(HasSubstr("micro-batch not published")));
  EXPECT_EQ(plan({{"gbs", ""}, {"mbs", "2"}, {"zero_fsdp", "FSDP2 8"}}).global_batch,
            16);  // one micro-batch on 8 ranks
  EXPECT_EQ(plan_refusal({{"gbs", ""}}), "batch not published");
  EXPECT_EQ(plan_refusal({{"gbs", "36"}}), "the batch is no multiple of micro-batch times data parallelism");
  EXPECT_EQ(plan_refusal({{"mbs", "0"}}), "the batch makes no sense");
}

TEST(RowPlan, ExpertShardsByFramework) {
  const RowCells wide = {{"tp", "2"}, {"ep", "4"}};  // 16 GPUs, PP 2: stage of 8
  const auto with = [&](RowCells more) {
    more.insert(wide.begin(), wide.end());
    return plan(more).sizes();
  };
  EXPECT_EQ(with({}).esp, 2);  // Megatron's default: as wide as tp
  EXPECT_EQ(with({}).edp, 1);
  EXPECT_EQ(with({{"schedule", "MCore w/ Folding"}}).esp, 1);
  EXPECT_EQ(with({{"framework", "Megatron-Bridge"}}).esp, 1);
  EXPECT_EQ(with({{"framework", "Megatron-Bridge"}}).edp, 2);
  EXPECT_EQ(with({{"etp", "1"}}).esp, 1);
  EXPECT_EQ(plan_refusal({{"tp", "2"}}), "the expert layout does not divide the GPUs");  // 8 * 2 * 2 = 32 > 16
}

TEST(RowPlan, PipelineSchedules) {
  EXPECT_EQ(plan({{"vpp", "2"}}).pipeline, "interleaved");
  EXPECT_EQ(plan({{"vpp", "1"}}).pipeline, "1f1b");
  EXPECT_EQ(plan({{"pp", "1"}, {"vpp", "2"}}).sizes().vpp, 1);
  EXPECT_EQ(plan({{"schedule", "DualPipe"}}).pipeline, "dualpipe");
  EXPECT_EQ(plan_refusal({{"vpp", "see model_config"}}), "virtual stages not published");
}

TEST(RowPlan, Precisions) {
  EXPECT_EQ(plan({{"precision", "MXFP8"}}).precision, "fp8");
  EXPECT_EQ(plan({{"precision", "FP8 (FP8-CS)"}}).precision, "fp8");
  EXPECT_EQ(plan({{"precision", "FP16"}}).precision, "fp16");
  EXPECT_EQ(plan_refusal({{"precision", "NVFP4"}}), "4-bit GEMMs have no precision recipe");
  EXPECT_EQ(plan_refusal({{"precision", "mixed"}}), "precision not published");
}

TEST(RowPlan, ShardingAndOverlap) {
  EXPECT_EQ(plan({{"zero_fsdp", ""}}).zero_dense, ZeroStage::kNone);
  EXPECT_EQ(plan({{"zero_fsdp", ""}, {"framework", "Megatron-Bridge"}}).zero_dense, ZeroStage::kOptimizer);
  EXPECT_EQ(plan({{"zero_fsdp", "FSDP2 8"}}).zero_expert, ZeroStage::kParameters);
  EXPECT_EQ(plan({{"zero_fsdp", "ZeRO-2"}}).zero_dense, ZeroStage::kGradients);
  EXPECT_FALSE(plan({{"schedule", "1F1B, all comm overlap off"}}).overlap_param_gather);
  const Plan deepspeed = plan({{"framework", "Megatron-DeepSpeed"}});
  EXPECT_FALSE(deepspeed.overlap_grad_reduce);
  EXPECT_FALSE(deepspeed.sequence_parallel);
}

TEST(RowPlan, Routing) {
  EXPECT_EQ(plan({{"routing", "token-drop"}}).capacity_factor, 1);
  EXPECT_EQ(plan({{"routing", "gshard gate, capacity 1.2, real (unbalanced) routing"}}).capacity_factor, 1.2);
  EXPECT_EQ(plan({{"routing", "token-drop, capacity factor 1, balanced by drop"}}).capacity_factor, 1);
  EXPECT_THAT(plan_notes_of({{"routing", ""}}), Contains(HasSubstr("balanced routing assumed")));
  EXPECT_THAT(plan_notes_of({}), Not(Contains(HasSubstr("balanced routing assumed"))));
}

TEST(RowPlan, SaysWhyNot) {
  EXPECT_EQ(plan_refusal({{"caveats", "task: LoRA Performance"}}), "trains adapters only (LoRA)");
  EXPECT_EQ(plan_refusal({{"n_gpus", ""}}), "number of GPUs not published");
  EXPECT_EQ(plan_refusal({{"seq_len", ""}}), "sequence length not published");
  EXPECT_EQ(plan_refusal({{"tp", ""}}), "tensor or pipeline parallelism not published");
  EXPECT_EQ(plan_refusal({{"ep", ""}}), "expert parallelism not published");
  EXPECT_EQ(plan_refusal({{"pp", "0"}}), "a parallel size makes no sense");
  EXPECT_EQ(plan_refusal({{"pp", "3"}}), "the layout does not divide the GPUs");
  EXPECT_EQ(plan_refusal({{"dp", "4"}}), "the published sizes do not multiply to the GPUs");
}

TEST(RowPlan, RecomputationChoices) {
  RowNotes notes;
  EXPECT_THAT(recompute_choices(read_row(changed({{"recompute", ""}})), notes),
              ElementsAre(Recompute::kNone, Recompute::kSelective, Recompute::kFull));
  EXPECT_THAT(recompute_choices(read_row(changed({{"recompute", "full AC"}})), notes), ElementsAre(Recompute::kFull));
  EXPECT_THAT(recompute_choices(read_row(changed({{"recompute", "selective AC"}})), notes),
              ElementsAre(Recompute::kSelective));
  EXPECT_THAT(notes, IsEmpty());
  EXPECT_THAT(recompute_choices(read_row(changed({{"recompute", "mla_up_proj"}})), notes),
              ElementsAre(Recompute::kSelective));
  EXPECT_THAT(notes, ElementsAre(AllOf(HasSubstr("mla_up_proj"), HasSubstr("selective"))));
}

TEST(RowCluster, CountsNicsInTheText) {
  const auto four = nics_of("NVLink3; 4x HDR200 IB per node (800Gb/s)");
  ASSERT_TRUE(four.has_value());
  EXPECT_EQ(four->count, 4);
  EXPECT_EQ(four->gigabits, 200);
  const auto each = nics_of("NVLink4 450GB/s uni; IB 400Gb/s per GPU (NVIDIA Eos, DGX H100)");
  ASSERT_TRUE(each.has_value());
  EXPECT_EQ(each->count, 0);
  EXPECT_EQ(each->gigabits, 400);
  EXPECT_EQ(nics_of("NVLink4 900GB/s bidir; 8x NDR400 IB (DGX H100)")->count, 8);
  EXPECT_FALSE(nics_of("NVLink3 single node").has_value());
  EXPECT_FALSE(nics_of("see the paper (A100: IB; V100: IB 100Gb/s)").has_value());
  EXPECT_FALSE(nics_of("").has_value());
}

TEST(RowCluster, TakesThePresetOfTheDevice) {
  RowClusters clusters({});
  const auto two = clusters.find(read_row(small_row()));
  ASSERT_TRUE(two.has_value()) << two.error();
  EXPECT_EQ((*two)->view.ranks(), 16);
  EXPECT_EQ((*two)->view.nodes(), 2);
  EXPECT_THAT((*two)->notes, IsEmpty());
  EXPECT_EQ(*clusters.find(read_row(small_row())), *two);  // compiled once
}

TEST(RowCluster, PartOfANodeAndOfARack) {
  RowClusters clusters({});
  const auto part = clusters.find(read_row(changed({{"hardware", "A100-SXM4-80GB"}, {"n_gpus", "4"}})));
  ASSERT_TRUE(part.has_value()) << part.error();
  EXPECT_EQ((*part)->view.ranks(), 4);
  EXPECT_EQ((*part)->view.nodes(), 1);
  const auto rack =
      clusters.find(read_row(changed({{"hardware", "GB200-NVL72"}, {"n_gpus", "8"}, {"gpus_per_node", "4"}})));
  ASSERT_TRUE(rack.has_value()) << rack.error();
  EXPECT_EQ((*rack)->view.nodes(), 2);
  EXPECT_EQ((*rack)->view.domain_size(RankId(0)), 8);  // both nodes in one NVLink domain
}

// 256 GPUs are 64 nodes; racks hold 18, of which 16 divide them.
TEST(RowCluster, FillsRacksEvenly) {
  RowClusters clusters({});
  const auto racks =
      clusters.find(read_row(changed({{"hardware", "GB200-NVL72"}, {"n_gpus", "256"}, {"gpus_per_node", "4"}})));
  ASSERT_TRUE(racks.has_value()) << racks.error();
  EXPECT_EQ((*racks)->view.domain_size(RankId(0)), 64);
  EXPECT_THAT((*racks)->notes, ElementsAre("16 nodes taken in each rack of 18"));
}

TEST(RowCluster, SharesNicsAsPublished) {
  RowClusters clusters({});
  const auto found = clusters.find(
      read_row(changed({{"hardware", "A100-SXM4-80GB"}, {"interconnect", "NVLink3; 4x HDR200 IB per node"}})));
  ASSERT_TRUE(found.has_value()) << found.error();
  EXPECT_THAT((*found)->notes, ElementsAre(HasSubstr("4 NICs per node")));
  int nics = 0;
  for (const Tier& tier : (*found)->view.tiers())
    if (tier.link == LinkClass::kNic) nics = static_cast<int>(tier.ports.size());
  EXPECT_EQ(nics, 8);  // 4 on each of 2 nodes
}

TEST(RowCluster, BorrowsTheNearestRelativesCluster) {
  RowClusters clusters({});
  const auto found = clusters.find(read_row(changed({{"hardware", "H100-96GB-HBM2e-500W"}})));
  ASSERT_TRUE(found.has_value()) << found.error();
  EXPECT_EQ((*found)->view.devices().front().name, "H100-SXM5-96GB");
  EXPECT_THAT((*found)->notes, ElementsAre(HasSubstr("H100-SXM5-80GB with the device exchanged")));
}

TEST(RowCluster, SaysWhyNot) {
  RowClusters clusters({});
  const auto refusal = [&](const RowCells& cells) {
    const auto found = clusters.find(read_row(changed(cells)));
    return found ? std::string("found") : found.error();
  };
  EXPECT_EQ(refusal({{"hardware", "Abacus"}}), "no device 'Abacus' in the catalogue");
  EXPECT_EQ(refusal({{"n_gpus", "12"}}), "GPUs are no multiple of the GPUs per node");
  EXPECT_EQ(refusal({{"n_gpus", "0"}}), "number of GPUs not published");
  EXPECT_EQ(refusal({{"n_gpus", "900000000"}}), "more GPUs than a cluster may have");
}

}  // namespace
}  // namespace moesim
