// Published layout and settings -> Plan. In this order:
//   sizes      tp and pp must be published; cp 1 where empty; ep 1 for dense models, else published
//   dp         published, or GPUs / (tp cp pp)
//   experts    etp published; else 1 for Megatron-Bridge and NeMo (their recipes set it) and where the schedule says
//              Folding; else tp, Megatron's own default
//   batch      gbs published, or mbs * ga * dp; mbs published, or gbs / (dp ga), or 1 (noted); FSDP runs that publish
//              only the local batch accumulate nothing
//   pipeline   "DualPipe" as named; vpp > 1 interleaved; else 1F1B
//   precision  "fp8" in any scaling is the recipe fp8; 4-bit GEMMs have no recipe
//   ZeRO       FSDP and ZeRO-3: stage 3; "distributed optimizer" and ZeRO-1: stage 1; empty: stage 1 in
//              Megatron-Bridge, whose recipes set it, else none
//   framework  Megatron-DeepSpeed reduces gradients after the last backward pass and has no sequence parallelism; where
//              "all comm overlap" is off, gradients and parameters are not overlapped either
#include <fmt/format.h>

#include <limits>

#include "base/text.hpp"
#include "sim/validate/row_model.hpp"

namespace moesim {
namespace {

int as_int(std::int64_t value) {
  return static_cast<int>(std::min<std::int64_t>(value, std::numeric_limits<int>::max()));
}

bool fully_sharded(const TrainingRow& row) { return mentions(row.zero, "FSDP") || mentions(row.zero, "ZeRO-3"); }

int expert_shards(const TrainingRow& row, RowNotes& notes) {
  if (row.etp) return as_int(*row.etp);
  if (!row.is_moe() || row.tp.value_or(1) == 1) return 1;
  const bool recipe_sets_one =
      mentions(row.framework, "Bridge") || mentions(row.framework, "NeMo") || mentions(row.schedule, "Folding");
  notes.push_back(recipe_sets_one ? "expert tensor parallelism not published: 1, as the framework's recipes set it"
                                  : "expert tensor parallelism not published: as wide as tp, Megatron's default");
  return recipe_sets_one ? 1 : as_int(*row.tp);
}

SkipReason set_sizes(const TrainingRow& row, ParallelSizes& sizes, RowNotes& notes) {
  if (!row.tp || !row.pp) return "tensor or pipeline parallelism not published";
  if (row.is_moe() && !row.ep) return "expert parallelism not published";
  if (row.is_unreadable("vpp")) return "virtual stages not published";
  sizes.tp = as_int(*row.tp);
  sizes.pp = as_int(*row.pp);
  sizes.vpp = sizes.pp == 1 ? 1 : as_int(row.vpp.value_or(1));
  sizes.cp = as_int(row.cp.value_or(1));
  sizes.ep = row.is_moe() ? as_int(*row.ep) : 1;
  sizes.esp = expert_shards(row, notes);
  for (const int size : {sizes.tp, sizes.pp, sizes.vpp, sizes.cp, sizes.ep, sizes.esp})
    if (size < 1 || size > kLargestWorld) return "a parallel size makes no sense";
  const std::int64_t copy = std::int64_t{sizes.tp} * sizes.pp * sizes.cp;
  const std::int64_t gpus = *row.gpus;
  if (gpus % copy != 0) return "the layout does not divide the GPUs";
  sizes.dp = as_int(gpus / copy);
  if (row.dp && *row.dp != sizes.dp) return "the published sizes do not multiply to the GPUs";
  const std::int64_t expert_copy = std::int64_t{sizes.ep} * sizes.esp * sizes.pp;
  if (gpus % expert_copy != 0) return "the expert layout does not divide the GPUs";
  sizes.edp = as_int(gpus / expert_copy);
  if (sizes.pp > 1 && !row.vpp && !mentions(row.schedule, "DualPipe") && mentions(row.framework, "Megatron-Core"))
    notes.emplace_back("virtual stages not published: none assumed");
  return {};
}

SkipReason set_batch(const TrainingRow& row, Plan& plan, RowNotes& notes) {
  const std::int64_t dp = plan.sizes().dp;
  RowNumber micro = row.micro_batch;
  RowNumber global = row.global_batch;
  RowNumber count = row.micro_batches;
  if (!global && micro && !count && fully_sharded(row)) {
    count = 1;
    notes.emplace_back("global batch not published: one micro-batch per step");
  }
  if (!global && micro && count) global = *micro * *count * dp;
  if (!global) return "batch not published";
  if (!micro && count && *count > 0 && *global % (*count * dp) == 0) micro = *global / (*count * dp);
  if (!micro) {
    micro = 1;
    notes.emplace_back("micro-batch not published: 1 assumed");
  }
  if (*micro < 1 || *global < 1 || *global > std::numeric_limits<int>::max()) return "the batch makes no sense";
  if (*global % (*micro * dp) != 0) return "the batch is no multiple of micro-batch times data parallelism";
  plan.micro_batch = as_int(*micro);
  plan.global_batch = as_int(*global);
  return {};
}

SkipReason set_precision(const TrainingRow& row, Plan& plan) {
  for (const std::string_view four_bit : {"fp4", "int4"})
    if (mentions(row.precision, four_bit)) return "4-bit GEMMs have no precision recipe";
  for (const std::string_view name : {"fp8", "bf16", "fp16", "fp32"}) {
    if (!mentions(row.precision, name)) continue;
    plan.precision = name;
    return {};
  }
  return "precision not published";
}

void set_sharding(const TrainingRow& row, Plan& plan, RowNotes& notes) {
  ZeroStage stage = ZeroStage::kNone;
  if (row.zero.empty() && mentions(row.framework, "Bridge")) {
    stage = ZeroStage::kOptimizer;
    notes.emplace_back("sharding not published: the distributed optimizer, as Megatron-Bridge's recipes set it");
  }
  if (mentions(row.zero, "ZeRO-1") || mentions(row.zero, "distributed optimizer")) stage = ZeroStage::kOptimizer;
  if (mentions(row.zero, "ZeRO-2")) stage = ZeroStage::kGradients;
  if (fully_sharded(row)) stage = ZeroStage::kParameters;
  plan.zero_dense = plan.zero_expert = stage;
  if (mentions(row.schedule, "comm overlap off")) plan.overlap_grad_reduce = plan.overlap_param_gather = false;
  if (!mentions(row.framework, "DeepSpeed")) return;
  plan.overlap_grad_reduce = plan.overlap_param_gather = false;
  plan.sequence_parallel = false;
}

void set_routing(const TrainingRow& row, Plan& plan, RowNotes& notes) {
  if (!row.is_moe()) return;
  const bool drops = mentions(row.routing, "token-drop") || mentions(row.caveats, "variant: tokendrop");
  double factor =
      number_after(row.routing, "capacity factor").value_or(number_after(row.routing, "capacity").value_or(0));
  if (factor == 0 && drops) factor = 1;
  plan.capacity_factor = factor;
  plan.pad_to_capacity = false;
  if (!mentions(row.routing, "balance") && !drops)
    notes.emplace_back("the published run's routing is not known: balanced routing assumed");
}

// What the row says it does and the simulation does not do.
void tell_differences(const TrainingRow& row, RowNotes& notes) {
  if (mentions(row.schedule, "EP overlap on") || mentions(row.schedule, "EP overlap +") ||
      row.schedule == "EP overlap" || mentions(row.schedule, "all-to-all overlap"))
    notes.emplace_back("the run overlaps expert communication with other micro-batches, the simulation does not");
  if (mentions(row.schedule, "async TP"))
    notes.emplace_back("the run overlaps tensor-parallel communication with GEMMs, the simulation does not");
  if (mentions(row.schedule, "shadowing"))
    notes.emplace_back("the run replicates busy experts (shadowing), the simulation does not");
  if (mentions(row.schedule, "EP overlap off") || mentions(row.schedule, "CUDA graphs"))
    notes.emplace_back("the run uses CUDA graphs");
}

}  // namespace

OrSkipped<Plan> plan_of(const TrainingRow& row, RowNotes& notes) {
  if (mentions(row.caveats, "LoRA")) return skipped("trains adapters only (LoRA)");
  if (!row.gpus || *row.gpus == 0) return skipped("number of GPUs not published");
  if (!row.seq_length || *row.seq_length == 0) return skipped("sequence length not published");
  Plan plan;
  plan.seq_length = *row.seq_length;
  if (SkipReason why = set_sizes(row, plan.layout.sizes, notes); !why.empty()) return skipped(std::move(why));
  if (SkipReason why = set_batch(row, plan, notes); !why.empty()) return skipped(std::move(why));
  if (SkipReason why = set_precision(row, plan); !why.empty()) return skipped(std::move(why));
  set_sharding(row, plan, notes);
  set_routing(row, plan, notes);
  tell_differences(row, notes);
  if (plan.sizes().pp > 1 && mentions(row.schedule, "DualPipe")) {
    plan.pipeline = "dualpipe";
    plan.layout.sizes.vpp = 2;  // the chunks it holds on a stage
  } else if (plan.sizes().vpp > 1) {
    plan.pipeline = "interleaved";
  }
  return plan;
}

std::vector<Recompute> recompute_choices(const TrainingRow& row, RowNotes& notes) {
  if (row.recompute.empty()) return {Recompute::kNone, Recompute::kSelective, Recompute::kFull};
  if (mentions(row.recompute, "full")) return {Recompute::kFull};
  if (to_lower(row.recompute) == "none") return {Recompute::kNone};
  if (!mentions(row.recompute, "selective"))
    notes.push_back(fmt::format("recomputes {}: taken as selective recomputation", row.recompute));
  return {Recompute::kSelective};
}

}  // namespace moesim
