#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "sim/plan/export/export.hpp"

namespace moesim {
namespace {

const MoeShape* moe_of(const ModelShape& model) {
  for (const LayerShape& kind : model.kinds)
    if (kind.moe) return &*kind.moe;
  return nullptr;
}

std::string python(bool value) { return value ? "True" : "False"; }

// DeepSpeed cuts experts by TP or not at all, so that "enable" says both values it knows.
std::string moe_arguments(const Plan& plan, const MoeShape& moe) {
  const double capacity = plan.capacity_factor > 0 ? plan.capacity_factor : 1.0;
  return fmt::format(
      "MoE layers: deepspeed.moe.layer.MoE(num_experts={}, ep_size={}, k={}, capacity_factor={}, "
      "drop_tokens={}, enable_expert_tensor_parallelism={})",
      moe.experts, plan.sizes().ep, moe.top_k, capacity, python(plan.capacity_factor > 0),
      python(plan.sizes().esp > 1));
}

void note_moe(std::vector<std::string>& notes, const Plan& plan, const MoeShape& moe) {
  const ParallelSizes& s = plan.sizes();
  notes.push_back(moe_arguments(plan, moe));
  if (s.esp > 1 && s.esp != s.tp)
    notes.push_back(
        fmt::format("not expressed: experts cut in {}; DeepSpeed cuts them by TP ({}) or not at all", s.esp, s.tp));
  if (moe.top_k > 2) notes.emplace_back("k above 2 needs DeepSpeed 0.14.5 or later");
  if (moe.shared.width > 0) notes.emplace_back("not expressed: shared experts; use_residual is not the same");
  if (moe.score != RouterScore::kSoftmax)
    notes.emplace_back("not expressed: the router's score function; DeepSpeed uses softmax");
  if (plan.zero_dense != plan.zero_expert)
    notes.push_back(fmt::format("not expressed: ZeRO {} for expert parameters; DeepSpeed uses one stage for all",
                                static_cast<int>(plan.zero_expert)));
  if (plan.moe_schedule != "megatron-a2a")
    notes.push_back(fmt::format("not expressed: MoE schedule {}", plan.moe_schedule));
  if (plan.all_to_all != ExchangeAlgorithm::kLinear)
    notes.push_back(fmt::format("not expressed: token exchange by {}; DeepSpeed has all_to_all_single",
                                exchange_algorithm_name(plan.all_to_all)));
  if (compresses_rows(plan))
    notes.emplace_back("not expressed: formats of rows on the wire; DeepSpeed sends them as they are computed");
  if (plan.comm_sm_share > 0)
    notes.push_back(fmt::format("not expressed: comm_sm_share {:.4g}; NCCL_MAX_CTAS bounds what NCCL's kernels hold",
                                plan.comm_sm_share));
  if (!plan.expert_slots.in_order())
    notes.emplace_back("not expressed: expert_slots; experts stand in order, each once");
  if (plan.pad_to_capacity)
    notes.emplace_back("pad_to_capacity needs no switch: DeepSpeed always pads to its capacity");
}

void note_layout(std::vector<std::string>& notes, const Plan& plan, const ModelShape& model) {
  const ParallelSizes& s = plan.sizes();
  if (s.tp > 1)
    notes.push_back(
        fmt::format("tensor parallelism is the model's: --tensor-model-parallel-size {} in Megatron-DeepSpeed", s.tp));
  if (plan.all_reduce != CollectiveAlgorithm::kAuto)
    notes.push_back(fmt::format("not expressed: all-reduce by {}; NCCL_ALGO sets the algorithm of all collectives",
                                algorithm_name(plan.all_reduce)));
  if (plan.grad_placement == GradPlacement::kBetweenExchanges)
    notes.emplace_back("not expressed: gradient reductions between the exchanges; they start when they are ready");
  if (s.cp > 1) notes.push_back(fmt::format("not expressed: context parallelism {}", s.cp));
  if (s.pp > 1) {
    notes.push_back(fmt::format("pipeline: PipelineModule(num_stages={}); its schedule is 1f1b", s.pp));
    if (plan.pipeline != "1f1b") notes.push_back(fmt::format("not expressed: pipeline schedule {}", plan.pipeline));
    if (plan.zero_dense >= ZeroStage::kGradients)
      notes.emplace_back("DeepSpeed refuses ZeRO 2 and 3 together with pipeline parallelism");
    if (const auto layers = split_layers(plan, model); layers)
      notes.push_back(fmt::format("layers per virtual stage: {}", fmt::join(*layers, " ")));
  }
  const bool known_order = plan.layout.order == "tp-cp-ep-dp-pp" || plan.layout.order == "tp-cp-dp-ep-pp";
  if (!known_order) notes.push_back(fmt::format("not expressed: rank order {}", plan.layout.order));
  if (!plan.layout.device_map.empty()) notes.emplace_back("not expressed: device_map; order the hostfile accordingly");
}

void note_options(std::vector<std::string>& notes, const Plan& plan) {
  if (plan.recompute != Recompute::kNone)
    notes.push_back(fmt::format("recompute {} is the model's: call deepspeed.checkpointing.checkpoint in its layers",
                                recompute_name(plan.recompute)));
  if (plan.precision != "bf16" && plan.precision != "fp16" && plan.precision != "fp32")
    notes.push_back(fmt::format("not expressed: precision {}; the file says bf16", plan.precision));
}

}  // namespace

Result<ExportText> export_deepspeed(const PlanFile& file, const ModelShape& model) {
  const Plan& plan = file.plan;
  MOESIM_TRY(check_plan(plan, model, plan.sizes().world()));
  nlohmann::ordered_json json;
  json["train_batch_size"] = plan.global_batch;
  json["train_micro_batch_size_per_gpu"] = plan.micro_batch;
  json["gradient_accumulation_steps"] = plan.micro_batches();
  json["zero_optimization"] = {{"stage", static_cast<int>(plan.zero_dense)},
                               {"overlap_comm", plan.overlap_grad_reduce},
                               {"reduce_bucket_size", plan.grad_bucket_elements},
                               {"allgather_bucket_size", plan.grad_bucket_elements}};
  if (plan.precision == "fp16") {
    json["fp16"] = {{"enabled", true}};
  } else if (plan.precision != "fp32") {
    json["bf16"] = {{"enabled", true}};
  }
  if (plan.layout.order == "tp-cp-dp-ep-pp") json["use_data_before_expert_parallelism"] = true;
  ExportText out{json.dump(2) + "\n", {}};
  if (const MoeShape* moe = moe_of(model)) note_moe(out.notes, plan, *moe);
  note_layout(out.notes, plan, model);
  note_options(out.notes, plan);
  for (std::string& note : plan_notes(plan, model)) out.notes.push_back(std::move(note));
  return out;
}

}  // namespace moesim
