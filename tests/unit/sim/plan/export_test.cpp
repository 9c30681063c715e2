#include "sim/plan/export/export.hpp"

#include <gmock/gmock.h>

#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/text.hpp"
#include "plan_testing.hpp"
#include "sim/plan/export/flag_list.hpp"

namespace moesim {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

PlanFile mixtral_file() {
  PlanFile file;
  file.plan = mixtral_plan();
  file.model = "zoo:mixtral-8x7b";
  file.cluster = "preset:h100";
  file.nodes = 8;
  return file;
}

PlanFile deepseek_file() {
  PlanFile file;
  file.plan.layout.sizes = {.tp = 1, .cp = 1, .pp = 8, .vpp = 4, .dp = 128, .ep = 64, .esp = 1, .edp = 2};
  file.plan.pipeline = "interleaved";
  file.plan.global_batch = 8192;
  file.plan.stage_layers.assign(32, 2);
  file.plan.stage_layers.front() = 1;
  file.plan.stage_layers.back() = 0;
  file.plan.precision = "fp8";
  file.plan.recompute = Recompute::kSelective;
  file.model = "zoo:deepseek-v3";
  file.cluster = "preset:h100";
  file.trace = "trace.csv";
  return file;
}

// The flags as a shell and argparse would see them: comments dropped, quotes resolved.
std::map<std::string, std::string> parsed_args(const std::string& text) {
  std::map<std::string, std::string> flags;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with('#')) continue;
    const auto space = line.find(' ');
    std::string value = space == std::string::npos ? "" : line.substr(space + 1);
    if (value.starts_with('\'')) value = value.substr(1, value.size() - 2);
    EXPECT_TRUE(flags.emplace(line.substr(0, space), value).second) << "twice: " << line;
  }
  return flags;
}

ExportText exported(const PlanFile& file, const ModelShape& model, MegatronForm form) {
  const auto text = export_megatron(file, model, form);
  EXPECT_TRUE(text.has_value()) << (text ? std::string() : text.error().what);
  return text.value_or(ExportText{});
}

TEST(ExportMegatron, MixtralFlags) {
  const auto flags = parsed_args(exported(mixtral_file(), mixtral_like(), MegatronForm::kArgs).text);
  const std::map<std::string, std::string> expected = {{"--num-layers", "32"},
                                                       {"--hidden-size", "4096"},
                                                       {"--ffn-hidden-size", "14336"},
                                                       {"--num-attention-heads", "32"},
                                                       {"--kv-channels", "128"},
                                                       {"--group-query-attention", ""},
                                                       {"--num-query-groups", "8"},
                                                       {"--swiglu", ""},
                                                       {"--normalization", "RMSNorm"},
                                                       {"--disable-bias-linear", ""},
                                                       {"--position-embedding-type", "rope"},
                                                       {"--max-position-embeddings", "32768"},
                                                       {"--untie-embeddings-and-output-weights", ""},
                                                       {"--vocab-size", "32000"},
                                                       {"--make-vocab-size-divisible-by", "128"},
                                                       {"--num-experts", "8"},
                                                       {"--moe-router-topk", "2"},
                                                       {"--moe-ffn-hidden-size", "14336"},
                                                       {"--moe-layer-freq", "1"},
                                                       {"--moe-router-score-function", "softmax"},
                                                       {"--moe-router-pre-softmax", ""},
                                                       {"--moe-router-dtype", "fp32"},
                                                       {"--tensor-model-parallel-size", "2"},
                                                       {"--pipeline-model-parallel-size", "4"},
                                                       {"--context-parallel-size", "1"},
                                                       {"--expert-model-parallel-size", "8"},
                                                       {"--expert-tensor-parallel-size", "1"},
                                                       {"--sequence-parallel", ""},
                                                       {"--micro-batch-size", "1"},
                                                       {"--global-batch-size", "128"},
                                                       {"--seq-length", "4096"},
                                                       {"--moe-token-dispatcher-type", "alltoall"},
                                                       {"--moe-grouped-gemm", ""},
                                                       {"--moe-permute-fusion", ""},
                                                       {"--use-distributed-optimizer", ""},
                                                       {"--overlap-grad-reduce", ""},
                                                       {"--overlap-param-gather", ""},
                                                       {"--ddp-bucket-size", "40000000"},
                                                       {"--bf16", ""}};
  EXPECT_EQ(flags, expected);
}

TEST(ExportMegatron, DeepSeekFlags) {
  const ExportText text = exported(deepseek_file(), deepseek_like(), MegatronForm::kArgs);
  auto flags = parsed_args(text.text);
  EXPECT_EQ(flags["--multi-latent-attention"], "");
  EXPECT_EQ(flags["--q-lora-rank"], "1536");
  EXPECT_EQ(flags["--kv-lora-rank"], "512");
  EXPECT_EQ(flags["--qk-head-dim"], "128");
  EXPECT_EQ(flags["--qk-pos-emb-head-dim"], "64");
  EXPECT_EQ(flags["--v-head-dim"], "128");
  EXPECT_FALSE(flags.contains("--kv-channels"));
  EXPECT_EQ(flags["--ffn-hidden-size"], "18432");
  EXPECT_EQ(flags["--moe-ffn-hidden-size"], "2048");
  EXPECT_EQ(flags["--moe-shared-expert-intermediate-size"], "2048");
  EXPECT_EQ(flags["--moe-layer-freq"], "([0]*3+[1]*58)");
  EXPECT_EQ(flags["--moe-router-score-function"], "sigmoid");
  EXPECT_TRUE(flags.contains("--moe-router-enable-expert-bias"));
  EXPECT_EQ(flags["--moe-router-num-groups"], "8");
  EXPECT_EQ(flags["--moe-router-group-topk"], "4");
  EXPECT_EQ(flags["--pipeline-model-parallel-layout"], "Et|(tt|)*30L");  // the public layout of this model, without MTP
  EXPECT_FALSE(flags.contains("--num-virtual-stages-per-pipeline-rank"));  // excludes the layout
  EXPECT_FALSE(flags.contains("--sequence-parallel"));                     // TP 1
  EXPECT_EQ(flags["--recompute-granularity"], "selective");
  EXPECT_EQ(flags["--recompute-modules"], "core_attn layernorm mla_up_proj moe_act");
  EXPECT_TRUE(flags.contains("--bf16"));
  EXPECT_EQ(flags["--fp8-recipe"], "blockwise");
  EXPECT_THAT(text.notes, Contains(HasSubstr("--mtp-num-layers 1")));
  EXPECT_THAT(text.notes, Not(Contains(HasSubstr("force-load-balancing"))));  // the plan was made for a trace
}

TEST(ExportMegatron, EvenVirtualStages) {
  PlanFile file = mixtral_file();
  file.plan.pipeline = "interleaved";
  file.plan.layout.sizes.vpp = 2;
  auto flags = parsed_args(exported(file, mixtral_like(), MegatronForm::kArgs).text);
  EXPECT_EQ(flags["--num-virtual-stages-per-pipeline-rank"], "2");
  EXPECT_FALSE(flags.contains("--pipeline-model-parallel-layout"));
  EXPECT_FALSE(flags.contains("--overlap-moe-expert-parallel-comm"));
}

TEST(ExportMegatron, WhatItCannotDoBecomesANote) {
  struct Case {
    std::function<void(Plan&)> change;
    const char* note;
  };
  const Case cases[] = {
      {[](Plan& p) { p.pipeline = "zb1p"; }, "pipeline schedule zb1p; Megatron-LM has none"},
      {[](Plan& p) {
         p.pipeline = "dualpipe";
         p.layout.sizes.vpp = 2;
       },
       "pipeline schedule dualpipe"},
      {[](Plan& p) { p.pipeline = "gpipe"; }, "pipeline schedule gpipe"},
      {[](Plan& p) { p.pipeline = "1f1b-overlap"; }, "pipeline schedule 1f1b-overlap"},
      {[](Plan& p) { p.moe_schedule = "parm-s1"; }, "MoE schedule parm-s1"},
      {[](Plan& p) { p.moe_dispatch_format = WireFormat::kFp8; }, "formats on the wire (dispatch 'fp8', combine '')"},
      {[](Plan& p) { p.comm_sm_share = 0.125; }, "comm_sm_share 0.125"},
      {[](Plan& p) { p.moe_schedule = "comet"; }, "MoE schedule comet"},
      {[](Plan& p) {
         p.expert_slots.expert_at.assign(32, {1, 0, 2, 3, 4, 5, 6, 7});
       },
       "expert_slots"},
      {[](Plan& p) { p.grad_placement = GradPlacement::kBetweenExchanges; }, "reductions between the exchanges"},
      {[](Plan& p) {
         p.moe_schedule = "megatron-allgather";
         p.capacity_factor = 1;
       },
       "under the all-gather dispatcher"},
      {[](Plan& p) { p.layout.order = "pp-tp-cp-ep-dp"; }, "rank order pp-tp-cp-ep-dp"},
      {[](Plan& p) { p.layout.order = "tp-cp-ep-pp-dp"; }, "refuses this rank order"},
      {[](Plan& p) {
         for (int r = 63; r >= 0; --r) p.layout.device_map.emplace_back(r);
       },
       "device_map"},
      {[](Plan& p) { p.zero_expert = ZeroStage::kNone; }, "ZeRO 1 for dense and 0 for expert"},
      {[](Plan& p) { p.zero_dense = p.zero_expert = ZeroStage::kParameters; }, "Megatron-FSDP"},
      {[](Plan& p) { p.overlap_grad_reduce = false; }, "only with overlapped gradient reduction"},
      {[](Plan& p) { p.recompute = Recompute::kSelective; }, "token permutation"},
      {[](Plan& p) { p.precision = "fp32"; }, "fp32 is Megatron-LM's default"},
  };
  for (const Case& c : cases) {
    PlanFile file = mixtral_file();
    c.change(file.plan);
    const ExportText text = exported(file, mixtral_like(), MegatronForm::kArgs);
    EXPECT_THAT(text.notes, Contains(HasSubstr(c.note)));
    EXPECT_THAT(text.text, HasSubstr(c.note));  // and in the comments at the head
  }
}

TEST(ExportMegatron, TheAllGatherDispatcherIsAFlag) {
  PlanFile file = mixtral_file();
  file.plan.moe_schedule = "megatron-allgather";
  const ExportText text = exported(file, mixtral_like(), MegatronForm::kArgs);
  EXPECT_EQ(parsed_args(text.text).at("--moe-token-dispatcher-type"), "allgather");
  EXPECT_THAT(text.notes, Not(Contains(HasSubstr("MoE schedule"))));
}

TEST(ExportMegatron, DeepEpIsTheFlexDispatcher) {
  PlanFile file = mixtral_file();
  file.plan.moe_schedule = "deepep";
  const ExportText text = exported(file, mixtral_like(), MegatronForm::kArgs);
  EXPECT_EQ(parsed_args(text.text).at("--moe-token-dispatcher-type"), "flex");
  EXPECT_TRUE(parsed_args(text.text).contains("--moe-enable-deepep"));
  EXPECT_THAT(text.notes, Not(Contains(HasSubstr("MoE schedule"))));
  EXPECT_THAT(text.notes, Contains(HasSubstr("--moe-flex-dispatcher-backend deepep")));
  EXPECT_THAT(text.notes, Not(Contains(HasSubstr("not expressed: ep_on_node"))));
  file.plan.layout.sizes.ep_on_node = 2;
  EXPECT_THAT(exported(file, mixtral_like(), MegatronForm::kArgs).notes,
              Contains(HasSubstr("not expressed: ep_on_node 2; DeepEP hands tokens on among the 8 GPUs of a node")));
}

TEST(ExportMegatron, ModelPeculiaritiesBecomeNotes) {
  ModelShape model = mixtral_like();
  model.kinds[0].attention.sinks = true;
  model.kinds[0].attention.window = 128;
  model.kinds[0].moe->score = RouterScore::kSparsemixer;
  model.kinds[0].moe->router_bias = true;
  model.kinds[0].attention.out_bias = true;
  const auto notes = exported(mixtral_file(), model, MegatronForm::kArgs).notes;
  for (const char* what : {"sinks", "windows", "sparsemixer", "router's linear layer", "biases on some"})
    EXPECT_THAT(notes, Contains(HasSubstr(what)));
}

TEST(ExportMegatron, OptionalFlags) {
  PlanFile file = mixtral_file();
  file.plan.layout.order = "tp-cp-ep-pp-dp";
  file.plan.capacity_factor = 1.25;
  file.plan.pad_to_capacity = true;
  file.plan.recompute = Recompute::kFull;
  file.plan.zero_dense = file.plan.zero_expert = ZeroStage::kGradients;
  file.plan.precision = "fp8-params";
  auto flags = parsed_args(exported(file, mixtral_like(), MegatronForm::kArgs).text);
  EXPECT_TRUE(flags.contains("--use-tp-pp-dp-mapping"));
  EXPECT_EQ(flags["--moe-expert-capacity-factor"], "1.25");
  EXPECT_TRUE(flags.contains("--moe-pad-expert-input-to-capacity"));
  EXPECT_EQ(flags["--recompute-method"], "uniform");
  EXPECT_EQ(flags["--recompute-num-layers"], "1");
  EXPECT_EQ(flags["--data-parallel-sharding-strategy"], "optim_grads");
  EXPECT_TRUE(flags.contains("--fp8-param-gather"));
}

TEST(ExportMegatron, DenseModelHasNoMoeFlags) {
  PlanFile file = mixtral_file();
  file.plan.layout.sizes = {.tp = 2, .cp = 1, .pp = 4, .vpp = 1, .dp = 8, .ep = 1, .esp = 1, .edp = 16};
  for (const auto& [name, value] : parsed_args(exported(file, dense_like(), MegatronForm::kArgs).text)) {
    EXPECT_FALSE(name.starts_with("--moe") || name == "--num-experts") << name;
  }
}

TEST(ExportMegatron, ScriptCallsTorchrun) {
  const std::string text = exported(deepseek_file(), deepseek_like(), MegatronForm::kScript).text;
  EXPECT_TRUE(
      text.starts_with("#!/usr/bin/env bash\n# TP1PP8EP64CP1VPP4-MBS1GBS8192: zoo:deepseek-v3 on preset:h100\n"));
  EXPECT_THAT(text, HasSubstr("torchrun --nnodes \"${NNODES:?}\""));  // the plan does not say how many nodes
  EXPECT_THAT(text, HasSubstr("  --pipeline-model-parallel-layout 'Et|(tt|)*30L' \\\n"));
  EXPECT_THAT(text, HasSubstr("  --moe-layer-freq '([0]*3+[1]*58)' \\\n"));
  const std::string known = exported(mixtral_file(), mixtral_like(), MegatronForm::kScript).text;
  EXPECT_THAT(known, HasSubstr("torchrun --nnodes 8 --nproc-per-node 8 "));
  EXPECT_TRUE(known.ends_with("  --bf16\n"));
}

TEST(ExportMegatron, EnvironmentHasTheUsualVariables) {
  const std::string text = exported(mixtral_file(), mixtral_like(), MegatronForm::kEnv).text;
  EXPECT_THAT(
      text, HasSubstr("\nTP=2\nPP=4\nVPP=1\nCP=1\nEP=8\nETP=1\nDP=8\nMBS=1\nGBS=128\nSEQ_LEN=4096\nPRECISION=bf16\n"));
}

TEST(ExportMegatron, YamlQuotesWhatYamlWouldMisread) {
  const std::string text = exported(deepseek_file(), deepseek_like(), MegatronForm::kYaml).text;
  EXPECT_THAT(text, HasSubstr("\nMODEL_ARGS:\n  --num-layers: 61\n"));
  EXPECT_THAT(text, HasSubstr("  --multi-latent-attention: true\n"));
  EXPECT_THAT(text, HasSubstr("  --pipeline-model-parallel-layout: \"Et|(tt|)*30L\"\n"));
  EXPECT_THAT(text, HasSubstr("  --recompute-modules: \"core_attn layernorm mla_up_proj moe_act\"\n"));
}

TEST(ExportMegatron, NamesFromOutsideStayInTheirCommentLine) {
  PlanFile file = mixtral_file();
  file.model = "a\nrm -rf /";
  EXPECT_THAT(exported(file, mixtral_like(), MegatronForm::kScript).text, Not(HasSubstr("\nrm")));
}

TEST(ExportMegatron, RefusesABadPlanAndAnUnknownForm) {
  PlanFile file = mixtral_file();
  file.plan.global_batch = 100;
  EXPECT_FALSE(export_megatron(file, mixtral_like(), MegatronForm::kArgs).has_value());
  EXPECT_FALSE(export_deepspeed(file, mixtral_like()).has_value());
  EXPECT_EQ(parse_megatron_form("yaml").value(), MegatronForm::kYaml);
  EXPECT_THAT(parse_megatron_form("yml").error().what, HasSubstr("did you mean 'yaml'"));
}

// What Megatron-LM makes of a layout string: layers of each virtual stage.
std::vector<int> layers_of_stages(std::string text) {
  for (auto open = text.find('('); open != std::string::npos; open = text.find('(')) {
    const auto close = text.find(')', open);
    std::size_t digits = 0;
    const int repeats = std::stoi(text.substr(close + 2), &digits);
    std::string body;
    for (int i = 0; i < repeats; ++i) body += text.substr(open + 1, close - open - 1);
    text = text.substr(0, open) + body + text.substr(close + 2 + digits);
  }
  std::vector<int> layers;
  for (const std::string_view stage : split(text, '|'))
    layers.push_back(static_cast<int>(std::count(stage.begin(), stage.end(), 't')));
  EXPECT_TRUE(text.starts_with('E') && text.ends_with('L'));
  return layers;
}

TEST(PipelineLayoutText, SaysTheLayersOfEveryVirtualStage) {
  EXPECT_EQ(pipeline_layout_text({1, 2, 2, 0}), "Et|(tt|)*2L");
  EXPECT_EQ(pipeline_layout_text({3}), "EtttL");
  EXPECT_EQ(pipeline_layout_text({0, 2, 1}), "E|tt|tL");
  for (const std::vector<int>& layers :
       {std::vector<int>{7, 7, 8, 8, 8, 7}, {1, 1, 1, 1}, {0, 1, 2, 2, 1, 1, 0}, {2, 3}})
    EXPECT_EQ(layers_of_stages(pipeline_layout_text(layers)), layers);
}

TEST(ShellQuoted, QuotesOnlyWhatNeedsIt) {
  EXPECT_EQ(shell_quoted("e4m3"), "e4m3");
  EXPECT_EQ(shell_quoted("a b"), "'a b'");
  EXPECT_EQ(shell_quoted("it's"), "'it'\\''s'");
  EXPECT_EQ(shell_quoted(""), "''");
}

nlohmann::json deepspeed_json(const PlanFile& file, const ModelShape& model) {
  const auto text = export_deepspeed(file, model);
  EXPECT_TRUE(text.has_value());
  return nlohmann::json::parse(text.value_or(ExportText{}).text);
}

TEST(ExportDeepSpeed, BatchIdentityHolds) {
  for (const auto& [micro, global] : {std::pair{1, 128}, {2, 128}, {4, 64}}) {
    PlanFile file = mixtral_file();
    file.plan.micro_batch = micro;
    file.plan.global_batch = global;
    const auto json = deepspeed_json(file, mixtral_like());
    EXPECT_EQ(json["train_batch_size"].get<int>(), global);
    EXPECT_EQ(json["train_batch_size"].get<int>(),
              json["train_micro_batch_size_per_gpu"].get<int>() * json["gradient_accumulation_steps"].get<int>() * 8);
  }
}

TEST(ExportDeepSpeed, ZeroAndPrecision) {
  PlanFile file = mixtral_file();
  auto json = deepspeed_json(file, mixtral_like());
  EXPECT_EQ(json["zero_optimization"]["stage"], 1);
  EXPECT_EQ(json["zero_optimization"]["reduce_bucket_size"], 40'000'000);
  EXPECT_EQ(json["bf16"]["enabled"], true);
  EXPECT_FALSE(json.contains("use_data_before_expert_parallelism"));
  file.plan.precision = "fp16";
  file.plan.layout.order = "tp-cp-dp-ep-pp";
  json = deepspeed_json(file, mixtral_like());
  EXPECT_EQ(json["fp16"]["enabled"], true);
  EXPECT_FALSE(json.contains("bf16"));
  EXPECT_EQ(json["use_data_before_expert_parallelism"], true);
  file.plan.precision = "fp32";
  json = deepspeed_json(file, mixtral_like());
  EXPECT_FALSE(json.contains("bf16") || json.contains("fp16"));
}

TEST(ExportDeepSpeed, MoeArgumentsAreTheFirstNote) {
  PlanFile file = mixtral_file();
  file.plan.capacity_factor = 1.25;
  const auto text = export_deepspeed(file, mixtral_like()).value();
  EXPECT_EQ(
      text.notes.front(),
      "MoE layers: deepspeed.moe.layer.MoE(num_experts=8, ep_size=8, k=2, capacity_factor=1.25, drop_tokens=True, "
      "enable_expert_tensor_parallelism=False)");
  EXPECT_THAT(text.notes, Contains(HasSubstr("PipelineModule(num_stages=4)")));
  EXPECT_THAT(text.notes, Contains(HasSubstr("--tensor-model-parallel-size 2")));
}

TEST(ExportDeepSpeed, WhatItCannotDoBecomesANote) {
  PlanFile file = deepseek_file();
  file.plan.zero_dense = ZeroStage::kGradients;
  const auto notes = export_deepspeed(file, deepseek_like()).value().notes;
  for (const char* what : {"k above 2", "shared experts", "score function", "pipeline schedule interleaved",
                           "precision fp8", "refuses ZeRO 2 and 3", "ZeRO 1 for expert", "recompute selective"})
    EXPECT_THAT(notes, Contains(HasSubstr(what)));
  file = mixtral_file();
  file.plan.layout.sizes = {.tp = 2, .cp = 2, .pp = 1, .vpp = 1, .dp = 16, .ep = 8, .esp = 4, .edp = 2};
  file.plan.layout.order = "ep-tp-cp-dp-pp";
  file.plan.grad_placement = GradPlacement::kBetweenExchanges;
  file.plan.expert_slots.expert_at.assign(32, {1, 0, 2, 3, 4, 5, 6, 7});
  const auto more = export_deepspeed(file, mixtral_like()).value().notes;
  for (const char* what : {"experts cut in 4", "context parallelism 2", "rank order ep-tp-cp-dp-pp", "expert_slots",
                           "reductions between the exchanges"})
    EXPECT_THAT(more, Contains(HasSubstr(what)));
}

}  // namespace
}  // namespace moesim
