// Layout, batch, pipeline, memory and precision of a plan as Megatron-LM flags.
#include <algorithm>

#include "sim/plan/export/export.hpp"
#include "sim/plan/export/megatron_flags.hpp"

namespace moesim {
namespace {

void add_sizes(MegatronFlags& out, const Plan& plan) {
  const ParallelSizes& s = plan.sizes();
  out.flags.add("--tensor-model-parallel-size", s.tp);
  out.flags.add("--pipeline-model-parallel-size", s.pp);
  out.flags.add("--context-parallel-size", s.cp);
  out.flags.add("--expert-model-parallel-size", s.ep);
  out.flags.add("--expert-tensor-parallel-size", s.esp);  // always: left out, it would default to TP
  if (s.tp > 1 && plan.sequence_parallel) out.flags.add("--sequence-parallel");
}

void add_order(MegatronFlags& out, const Plan& plan) {
  if (plan.layout.order == "tp-cp-ep-pp-dp") {
    out.flags.add("--use-tp-pp-dp-mapping");
  } else if (plan.layout.order != "tp-cp-ep-dp-pp") {
    out.notes.push_back(fmt::format(
        "not expressed: rank order {}; Megatron-LM's flags know tp-cp-ep-dp-pp and tp-cp-ep-pp-dp", plan.layout.order));
  }
  if (!meshes_nest_alike(plan.layout))
    out.notes.emplace_back(
        "Megatron-LM refuses this rank order: its dense and expert meshes have different numbers of ranks "
        "inside pp");
  if (!plan.layout.device_map.empty())
    out.notes.emplace_back("not expressed: device_map; order the hosts and devices of the launcher accordingly");
}

// Megatron-LM overlaps passes of micro-batches without a pipeline, or in an interleaved one.
bool overlaps_expert_communication(const Plan& plan) {
  return plan.pipeline == "interleaved-overlap" || (plan.pipeline == "1f1b-overlap" && plan.sizes().pp == 1);
}

// The split of Megatron's nearest schedule: our own where it has the schedule, else that of plain 1F1B.
void add_pipeline(MegatronFlags& out, const ModelShape& model, const Plan& plan) {
  Plan runnable = plan;
  if (overlaps_expert_communication(plan)) {
    out.flags.add("--overlap-moe-expert-parallel-comm");
  } else if (plan.pipeline != "1f1b" && plan.pipeline != "interleaved") {
    out.notes.push_back(
        fmt::format("not expressed: pipeline schedule {}; Megatron-LM has none, these flags run 1f1b and the "
                    "predicted time does not hold for them",
                    plan.pipeline));
    runnable.pipeline = "1f1b";
    runnable.layout.sizes.vpp = 1;
    if (plan.pipeline != "gpipe" && plan.pipeline != "zb1p" && plan.pipeline != "1f1b-overlap")
      runnable.stage_layers.clear();  // these hold one chunk as well
  }
  if (runnable.sizes().pp == 1) return;
  const auto layers = split_layers(runnable, model);
  if (!layers) {
    out.notes.push_back(fmt::format("no layer split for 1f1b: {}", layers.error().what));
    return;
  }
  if (std::adjacent_find(layers->begin(), layers->end(), std::not_equal_to<>()) != layers->end()) {
    out.flags.add("--pipeline-model-parallel-layout", pipeline_layout_text(*layers));
  } else if (runnable.sizes().vpp > 1) {
    out.flags.add("--num-virtual-stages-per-pipeline-rank", runnable.sizes().vpp);
  }
}

void add_moe(MegatronFlags& out, const Plan& plan) {
  const bool gathers = plan.moe_schedule == "megatron-allgather";
  const bool visits = plan.moe_schedule == "deepep";
  out.flags.add("--moe-token-dispatcher-type", gathers ? "allgather" : visits ? "flex" : "alltoall");
  if (visits) out.flags.add("--moe-enable-deepep");
  out.flags.add("--moe-grouped-gemm");
  out.flags.add("--moe-permute-fusion");
  if (plan.capacity_factor > 0) {
    out.flags.add("--moe-expert-capacity-factor", plan.capacity_factor);
    if (plan.pad_to_capacity) out.flags.add("--moe-pad-expert-input-to-capacity");
  }
  if (gathers && (plan.capacity_factor > 0 || overlaps_expert_communication(plan)))
    out.notes.emplace_back(
        "not expressed: a capacity factor, or overlapped expert communication, under the all-gather dispatcher; "
        "Megatron-LM has both under its all-to-all dispatcher");
  if (plan.moe_schedule != "megatron-a2a" && !gathers && !visits)
    out.notes.push_back(fmt::format(
        "not expressed: MoE schedule {}; these flags run Megatron-LM's all-to-all dispatcher", plan.moe_schedule));
  const int on_node = plan.sizes().ep_on_node;
  if (visits && on_node > 1 && on_node < plan.sizes().ep && on_node != 8)
    out.notes.push_back(
        fmt::format("not expressed: ep_on_node {}; DeepEP hands tokens on among the 8 GPUs of a node", on_node));
  if (visits) out.notes.emplace_back("newer versions of Megatron-LM call DeepEP --moe-flex-dispatcher-backend deepep");
  if (plan.all_to_all != ExchangeAlgorithm::kLinear)
    out.notes.push_back(fmt::format("not expressed: token exchange by {}; the dispatcher has one grouped exchange",
                                    exchange_algorithm_name(plan.all_to_all)));
  if (compresses_rows(plan))
    out.notes.push_back(
        fmt::format("not expressed: formats on the wire (dispatch '{}', combine '{}'); the all-to-all dispatcher sends "
                    "rows as they are computed",
                    wire_format_name(plan.moe_dispatch_format), wire_format_name(plan.moe_combine_format)));
  if (plan.comm_sm_share > 0)
    out.notes.push_back(
        fmt::format("not expressed: comm_sm_share {:.4g}; --moe-deepep-num-sms sets it for the flex dispatcher, "
                    "NCCL_MAX_CTAS for NCCL",
                    plan.comm_sm_share));
  if (!plan.expert_slots.in_order())
    out.notes.emplace_back("not expressed: expert_slots; experts stand in order, each once");
}

void add_recompute(MegatronFlags& out, const ModelShape& model, const Plan& plan, bool moe) {
  if (plan.recompute == Recompute::kNone) return;
  out.flags.add("--recompute-granularity", recompute_name(plan.recompute));
  if (plan.recompute == Recompute::kFull) {
    out.flags.add("--recompute-method", "uniform");
    out.flags.add("--recompute-num-layers", 1);
    return;
  }
  std::vector<std::string> modules = {"core_attn", "layernorm"};
  if (model.layer(LayerId(0)).attention.kind == AttentionKind::kMla) modules.emplace_back("mla_up_proj");
  if (moe) modules.emplace_back("moe_act");
  out.flags.add_list("--recompute-modules", std::move(modules));
  if (moe)
    out.notes.emplace_back("not expressed: recomputation of the token permutation; Megatron-LM has no module for it");
}

std::string_view sharding_strategy(ZeroStage stage) {
  return stage == ZeroStage::kParameters ? "optim_grads_params" : "optim_grads";
}

void add_data_parallel(MegatronFlags& out, const Plan& plan, bool moe) {
  if (plan.all_reduce != CollectiveAlgorithm::kAuto)
    out.notes.push_back(fmt::format("not expressed: all-reduce by {}; NCCL_ALGO sets the algorithm of all collectives",
                                    algorithm_name(plan.all_reduce)));
  if (plan.grad_placement == GradPlacement::kBetweenExchanges)
    out.notes.emplace_back("not expressed: gradient reductions between the exchanges; they start when they are ready");
  const ZeroStage zero = moe ? std::max(plan.zero_dense, plan.zero_expert) : plan.zero_dense;
  if (moe && plan.zero_dense != plan.zero_expert)
    out.notes.push_back(
        fmt::format("not expressed: ZeRO {} for dense and {} for expert parameters; Megatron-LM shards both "
                    "alike, here by ZeRO {}",
                    static_cast<int>(plan.zero_dense), static_cast<int>(plan.zero_expert), static_cast<int>(zero)));
  if (zero == ZeroStage::kOptimizer) out.flags.add("--use-distributed-optimizer");
  if (zero >= ZeroStage::kGradients) {
    out.flags.add("--use-distributed-optimizer");
    out.flags.add("--use-megatron-fsdp");
    out.flags.add("--data-parallel-sharding-strategy", sharding_strategy(zero));
    out.notes.emplace_back(
        "ZeRO 2 and 3 need Megatron-FSDP, whose flags differ between versions (before mid 2025: --use-custom-fsdp)");
  }
  if (plan.overlap_grad_reduce) out.flags.add("--overlap-grad-reduce");
  if (plan.overlap_param_gather && zero != ZeroStage::kNone && plan.overlap_grad_reduce)
    out.flags.add("--overlap-param-gather");
  if (plan.overlap_param_gather && zero != ZeroStage::kNone && !plan.overlap_grad_reduce)
    out.notes.emplace_back(
        "not expressed: overlapped parameter gathering; Megatron-LM allows it only with overlapped gradient reduction");
  out.flags.add("--ddp-bucket-size", plan.grad_bucket_elements);
}

void add_precision(MegatronFlags& out, const Plan& plan) {
  if (plan.precision == "fp32") {
    out.notes.emplace_back("fp32 is Megatron-LM's default and has no flag");
  } else if (plan.precision == "bf16" || plan.precision == "fp16") {
    out.flags.add("--" + plan.precision);
  } else if (plan.precision == "fp8" || plan.precision == "fp8-params") {
    out.flags.add("--bf16");
    out.flags.add("--fp8-format", "e4m3");
    out.flags.add("--fp8-recipe", "blockwise");
    if (plan.precision == "fp8-params") out.flags.add("--fp8-param-gather");
    out.notes.emplace_back("fp8 recipe blockwise is Hopper's; on Blackwell use --fp8-recipe mxfp8");
  } else {
    out.notes.push_back(fmt::format("not expressed: precision {}", plan.precision));
  }
}

}  // namespace

void add_plan_flags(MegatronFlags& out, const ModelShape& model, const Plan& plan) {
  const bool moe =
      std::any_of(model.kinds.begin(), model.kinds.end(), [](const LayerShape& kind) { return kind.moe.has_value(); });
  add_sizes(out, plan);
  add_order(out, plan);
  add_pipeline(out, model, plan);
  out.flags.add("--micro-batch-size", plan.micro_batch);
  out.flags.add("--global-batch-size", plan.global_batch);
  out.flags.add("--seq-length", plan.seq_length);
  if (moe) add_moe(out, plan);
  add_recompute(out, model, plan, moe);
  add_data_parallel(out, plan, moe);
  add_precision(out, plan);
}

}  // namespace moesim
