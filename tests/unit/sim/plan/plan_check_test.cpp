#include <gmock/gmock.h>

#include <cmath>
#include <functional>

#include "plan_testing.hpp"

namespace moesim {
namespace {

using ::testing::HasSubstr;

std::string verdict(const Plan& plan, const ModelShape& model, int world) {
  const Status status = check_plan(plan, model, world);
  EXPECT_TRUE(status || status.error().kind == ErrorKind::kInvalidInput);
  return status ? "accepted" : status.error().what;
}

// The plan for 64 ranks with one thing changed.
std::string changed(const std::function<void(Plan&)>& change, const ModelShape& model = mixtral_like(),
                    int world = 64) {
  Plan plan = mixtral_plan();
  change(plan);
  return verdict(plan, model, world);
}

TEST(CheckPlan, AcceptsGoodPlans) {
  EXPECT_EQ(verdict(mixtral_plan(), mixtral_like(), 64), "accepted");
  // DeepSeek-V3 on 2048 ranks as its report has it: PP16, EP64, no TP, DualPipe.
  Plan plan;
  plan.layout.sizes = {.tp = 1, .cp = 1, .pp = 16, .vpp = 2, .dp = 128, .ep = 64, .esp = 1, .edp = 2};
  plan.pipeline = "dualpipe";
  plan.precision = "fp8";
  plan.global_batch = 15360;
  EXPECT_EQ(verdict(plan, deepseek_like(), 2048), "accepted");
}

TEST(CheckPlan, WorldSizes) {
  EXPECT_THAT(verdict(mixtral_plan(), mixtral_like(), 60),
              HasSubstr("world size (60) is not divisible by tensor-model-parallel size (2) x pipeline"));
  EXPECT_THAT(changed([](Plan& p) { p.layout.sizes.esp = 32; }),
              HasSubstr("expert_tensor_model_pipeline_parallel size"));
}

TEST(CheckPlan, InterleavingWithPp1) {
  EXPECT_THAT(changed([](Plan& p) {
                p.layout.sizes = {.tp = 2, .pp = 1, .vpp = 2, .dp = 32, .ep = 8, .edp = 8};
                p.pipeline = "interleaved";
              }),
              HasSubstr("pipeline-model-parallel size should be greater than 1 with interleaved schedule"));
}

TEST(CheckPlan, SequenceParallelism) {
  EXPECT_THAT(changed([](Plan& p) { p.sequence_parallel = false; }),
              HasSubstr("MoE with tensor parallelism requires sequence parallelism"));
  EXPECT_EQ(changed(
                [](Plan& p) {
                  p.sequence_parallel = false;
                  p.layout.sizes = {.tp = 2, .pp = 4, .dp = 8, .edp = 16};
                },
                dense_like()),
            "accepted");
  EXPECT_THAT(
      changed([](Plan& p) { p.seq_length = 4095; }),
      HasSubstr(
          "sequence length per context-parallel rank (4095) must be divisible by tensor-model-parallel size (2)"));
  EXPECT_THAT(changed([](Plan& p) {
                p.layout.sizes = {.tp = 1, .cp = 4, .pp = 4, .dp = 4, .ep = 8, .edp = 2};
                p.seq_length = 4092;  // by 4, not by 8
              }),
              HasSubstr("sequence length (4092) must be divisible by 2 x context-parallel size (8)"));
  EXPECT_THAT(changed([](Plan& p) { p.seq_length = 0; }), HasSubstr("sequence length is 0"));
}

TEST(CheckPlan, HeadsByTp) {
  ModelShape model = dense_like();
  const auto tp = [](int size, int dp) {
    return [=](Plan& p) { p.layout.sizes = {.tp = size, .pp = 1, .dp = dp, .edp = size * dp}; };
  };
  EXPECT_THAT(changed(tp(64, 1), model),
              HasSubstr("number of attention heads (32) must be divisible by tensor-model-parallel size (64)"));
  EXPECT_EQ(changed(tp(16, 4), model), "accepted");  // 8 key/value heads, each held twice
  model.kinds[0].attention.heads = 48;
  model.kinds[0].attention.kv_heads = 6;
  model.kinds[0].dense->width = 3072;
  EXPECT_THAT(changed(tp(4, 16), model), HasSubstr("num_query_groups (6)"));
  EXPECT_EQ(changed(tp(2, 32), model), "accepted");
}

TEST(CheckPlan, Experts) {
  EXPECT_THAT(changed(
                  [](Plan& p) {
                    p.layout.sizes.ep = 4;
                    p.layout.sizes.edp = 4;
                  },
                  dense_like()),
              HasSubstr("the model has no experts"));
  EXPECT_THAT(changed(
                  [](Plan& p) {
                    p.moe_shadows = 2;
                    p.layout.sizes.ep = 1;
                    p.layout.sizes.edp = 16;
                  },
                  dense_like()),
              HasSubstr("moe_degree is 0, moe_backward_degree 0 and moe_shadows 2, but the model has no experts"));
  EXPECT_THAT(changed(
                  [](Plan& p) {
                    p.grad_placement = GradPlacement::kBetweenExchanges;
                    p.layout.sizes.ep = 1;
                    p.layout.sizes.edp = 16;
                  },
                  dense_like()),
              HasSubstr("grad_placement is between-exchanges, but the model has no experts"));
  for (const auto& change : std::initializer_list<std::function<void(Plan&)>>{
           [](Plan& p) { p.moe_dispatch_format = WireFormat::kFp8; }, [](Plan& p) { p.comm_sm_share = 0.1; }})
    EXPECT_THAT(changed(
                    [&](Plan& p) {
                      change(p);
                      p.layout.sizes.ep = 1;
                      p.layout.sizes.edp = 16;
                    },
                    dense_like()),
                HasSubstr("about token copies, but the model has no experts"));
  EXPECT_THAT(changed([](Plan& p) { p.comm_sm_share = 1; }), HasSubstr("comm_sm_share is 1, expected 0 to 0.9"));
  EXPECT_EQ(changed([](Plan& p) { p.comm_sm_share = 0.9; }), "accepted");
  EXPECT_THAT(changed([](Plan& p) {
                p.layout.sizes.ep = 16;
                p.layout.sizes.edp = 1;
              }),
              HasSubstr("number of experts (8) must be divisible by expert-model-parallel size (16)"));
  ModelShape odd = mixtral_like();
  odd.kinds[0].moe->expert.width = 14335;
  EXPECT_THAT(changed(
                  [](Plan& p) {
                    p.layout.sizes.esp = 2;
                    p.layout.sizes.edp = 1;
                  },
                  odd),
              HasSubstr("expert FFN width (14335) must be divisible by expert-tensor-parallel size (2)"));
  ModelShape shared = mixtral_like();
  shared.kinds[0].moe->shared.width = 2047;
  EXPECT_THAT(changed([](Plan&) {}, shared), HasSubstr("shared expert FFN width (2047)"));
  ModelShape dense = dense_like();
  dense.kinds[0].dense->width = 14335;
  EXPECT_THAT(changed(
                  [](Plan& p) {
                    p.layout.sizes.ep = 1;
                    p.layout.sizes.edp = 16;
                  },
                  dense),
              HasSubstr("FFN width (14335)"));
}

TEST(CheckPlan, Batch) {
  EXPECT_THAT(
      changed([](Plan& p) { p.global_batch = 100; }),
      HasSubstr("global batch size (100) is not divisible by micro batch size (1) times data parallel size (8)"));
  EXPECT_THAT(changed([](Plan& p) { p.global_batch = 0; }), HasSubstr("global batch size is 0"));
  EXPECT_THAT(changed([](Plan& p) { p.micro_batch = -2; }), HasSubstr("micro-batch size is -2"));
  EXPECT_THAT(changed([](Plan& p) { p.micro_batch = 2'000'000'000; }), HasSubstr("is not divisible"));  // no overflow
}

TEST(CheckPlan, Options) {
  EXPECT_THAT(changed([](Plan& p) { p.precision = "bf17"; }),
              HasSubstr("unknown precision 'bf17' (did you mean 'bf16'?)"));
  EXPECT_THAT(changed([](Plan& p) { p.capacity_factor = -1; }), HasSubstr("capacity factor is -1"));
  EXPECT_THAT(changed([](Plan& p) { p.capacity_factor = std::nan(""); }), HasSubstr("capacity factor is nan"));
  EXPECT_THAT(changed([](Plan& p) { p.pad_to_capacity = true; }), HasSubstr("pad_to_capacity needs a capacity factor"));
  EXPECT_THAT(changed([](Plan& p) { p.grad_bucket_elements = 0; }), HasSubstr("gradient bucket of 0"));
  EXPECT_THAT(changed([](Plan& p) { p.pipeline = "1f2b"; }),
              HasSubstr("unknown pipeline schedule '1f2b' (did you mean '1f1b'?)"));
}

TEST(CheckPlan, PipelineDemands) {
  EXPECT_THAT(changed([](Plan& p) { p.pipeline = "zbv"; }),
              HasSubstr("'zbv' holds 2 model chunks per stage, vpp is 1"));
  EXPECT_THAT(changed([](Plan& p) {
                p.pipeline = "interleaved";
                p.layout.sizes.vpp = 2;
                p.global_batch = 48;  // 6 micro-batches on 4 stages
              }),
              HasSubstr("number of microbatches (6) is not divisible by pipeline-model-parallel size (4)"));
  EXPECT_THAT(changed([](Plan& p) {
                p.stage_layers = {8, 8, 8, 4};
              }),
              HasSubstr("28 layers in total, the model has 32"));
}

TEST(CheckPlan, LearnedPositionsLimitTheSequence) {
  ModelShape gpt = mixtral_like();
  gpt.learned_positions = 2048;
  EXPECT_THAT(changed([](Plan&) {}, gpt), HasSubstr("sequence length 4096 exceeds the 2048 learned positions"));
}

}  // namespace
}  // namespace moesim
