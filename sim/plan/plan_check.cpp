// The rules of a plan that do not need the cluster. Where Megatron-LM has a word for an error we use the same one, so
// that a user can look it up.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "sim/lower/moe_schedule.hpp"
#include "sim/pipeline/schedules.hpp"
#include "sim/plan/plan.hpp"

namespace moesim {
namespace {

Status divides(std::string_view what, std::int64_t number, std::string_view by, std::int64_t divisor) {
  if (number % divisor == 0) return {};
  return invalid_input(fmt::format("{} ({}) must be divisible by {} ({})", what, number, by, divisor));
}

bool is_moe(const ModelShape& model) {
  return std::any_of(model.kinds.begin(), model.kinds.end(),
                     [](const LayerShape& kind) { return kind.moe.has_value(); });
}

// Key/value heads may be fewer than TP ranks: then each is held by several of them.
Status check_heads(const AttentionShape& attention, int tp) {
  MOESIM_TRY(divides("number of attention heads", attention.heads, "tensor-model-parallel size", tp));
  if (attention.kind != AttentionKind::kGrouped || attention.kv_heads < 1) return {};
  if (attention.kv_heads % tp == 0 || tp % attention.kv_heads == 0) return {};
  return invalid_input(
      fmt::format("num_query_groups ({}) must be divisible by tensor-model-parallel size ({}), or divide it",
                  attention.kv_heads, tp));
}

Status check_moe(const MoeShape& moe, const ParallelSizes& s) {
  MOESIM_TRY(divides("number of experts", moe.experts, "expert-model-parallel size", s.ep));
  MOESIM_TRY(divides("expert FFN width", moe.expert.width, "expert-tensor-parallel size", s.esp));
  return divides("shared expert FFN width", moe.shared.width, "tensor-model-parallel size", s.tp);
}

// Each expert once; or, where there are more slots, at least once and on no device twice.
Status check_layer_slots(const std::vector<std::int32_t>& expert_of_slot, std::int64_t experts, int ep, int layer) {
  const bool spare = std::ssize(expert_of_slot) > experts;
  const auto per_device = expert_of_slot.size() / static_cast<std::size_t>(ep);
  std::vector<std::ptrdiff_t> last_device(static_cast<std::size_t>(experts), -1);
  for (std::size_t slot = 0; slot < expert_of_slot.size(); ++slot) {
    const std::int32_t expert = expert_of_slot[slot];
    if (spare && expert == kNoExpert) continue;
    if (expert < 0 || expert >= experts)
      return invalid_input(
          fmt::format("expert_slots of MoE layer {} has expert {} in slot {}, the model has {}", layer, expert, slot,
                      experts),
          {}, fmt::format("experts have the numbers 0 to {}{}", experts - 1, spare ? ", an empty slot -1" : ""));
    const auto device = static_cast<std::ptrdiff_t>(slot / per_device);
    std::ptrdiff_t& last = last_device[static_cast<std::size_t>(expert)];
    if (last >= 0 && (!spare || last == device))
      return invalid_input(
          spare ? fmt::format("expert_slots of MoE layer {} has expert {} twice on EP rank {}", layer, expert, device)
                : fmt::format("expert_slots of MoE layer {} does not have each of the {} experts once", layer, experts),
          {},
          spare
              ? "leave the second slot empty (-1), or give it another expert"
              : fmt::format("list the numbers 0 to {} in any order, or more slots for experts that stand several times",
                            experts - 1));
    last = device;
  }
  const auto lost = std::ranges::find(last_device, -1);
  if (lost == last_device.end()) return {};
  return invalid_input(
      fmt::format("expert_slots of MoE layer {} has expert {} nowhere", layer, lost - last_device.begin()), {},
      "every expert needs a slot");
}

Status check_expert_slots(const Plan& plan, const ModelShape& model) {
  const ExpertSlots& slots = plan.expert_slots;
  if (slots.in_order()) return {};
  if (static_cast<int>(slots.expert_at.size()) != model.moe_layer_count())
    return invalid_input(fmt::format("expert_slots has {} layers, the model {} MoE layers", slots.expert_at.size(),
                                     model.moe_layer_count()),
                         {}, "give a list of experts for each MoE layer, or leave expert_slots out");
  const std::int64_t experts = model.first_moe()->experts;
  const int ep = plan.sizes().ep;
  const std::ptrdiff_t count = std::ssize(slots.expert_at.front());
  for (std::size_t layer = 0; layer < slots.expert_at.size(); ++layer) {
    const std::vector<std::int32_t>& of_layer = slots.expert_at[layer];
    if (std::ssize(of_layer) < experts || std::ssize(of_layer) % ep != 0 || std::ssize(of_layer) != count)
      return invalid_input(
          fmt::format("expert_slots of MoE layer {} has {} slots; {} experts on {} EP ranks take {}, or in every layer "
                      "as many more as every rank has room for",
                      layer, of_layer.size(), experts, ep, experts),
          {}, fmt::format("list {} experts, or {} more for each expert that a rank may hold besides", experts, ep));
    MOESIM_TRY(check_layer_slots(of_layer, experts, ep, static_cast<int>(layer)));
  }
  if (slots.has_spare(experts) && plan.sizes().edp > 1 && plan.zero_expert == ZeroStage::kParameters)
    return invalid_input("zero_expert 3 leaves no whole weights of an expert that could be copied to another EP rank",
                         {}, "set zero_expert to 2 or less, or let expert_slots have each expert once");
  return {};
}

Status check_model_fits(const Plan& plan, const ModelShape& model) {
  const ParallelSizes& s = plan.sizes();
  if (!is_moe(model) && (s.ep > 1 || s.esp > 1))
    return invalid_input(
        fmt::format("expert-model-parallel size is {} and expert-tensor-parallel size {}, but the model has "
                    "no experts",
                    s.ep, s.esp),
        {}, "a dense model needs ep 1 and esp 1");
  if (!is_moe(model) && (plan.moe_degree > 1 || plan.moe_backward_degree > 1 || plan.moe_shadows > 0))
    return invalid_input(
        fmt::format("moe_degree is {}, moe_backward_degree {} and moe_shadows {}, but the model has no experts",
                    plan.moe_degree, plan.moe_backward_degree, plan.moe_shadows),
        {}, "leave all three out of a dense model's plan");
  if (!is_moe(model) && plan.grad_placement == GradPlacement::kBetweenExchanges)
    return invalid_input("grad_placement is between-exchanges, but the model has no experts and exchanges nothing", {},
                         "leave it out of a dense model's plan");
  if (!is_moe(model) && (compresses_rows(plan) || plan.comm_sm_share > 0))
    return invalid_input(
        "moe_dispatch_format, moe_combine_format and comm_sm_share are about token copies, but the model has no "
        "experts",
        {}, "leave them out of a dense model's plan");
  for (const LayerShape& kind : model.kinds) {
    MOESIM_TRY(check_heads(kind.attention, s.tp));
    if (kind.dense) {
      MOESIM_TRY(divides("FFN width", kind.dense->width, "tensor-model-parallel size", s.tp));
    }
    if (kind.moe) {
      MOESIM_TRY(check_moe(*kind.moe, s));
    }
  }
  MOESIM_TRY(check_expert_slots(plan, model));
  // Megatron's dispatcher takes the tokens of each TP rank as its own; without sequence parallelism they are copies.
  if (is_moe(model) && s.tp > 1 && !plan.sequence_parallel && plan.moe_schedule.starts_with("megatron"))
    return invalid_input("when training, MoE with tensor parallelism requires sequence parallelism", {},
                         "set sequence_parallel to true, or tp to 1");
  return {};
}

Status check_sequence(const Plan& plan, const ModelShape& model) {
  const ParallelSizes& s = plan.sizes();
  if (plan.seq_length < 1)
    return invalid_input(fmt::format("sequence length is {}, expected at least 1", plan.seq_length));
  if (model.learned_positions > 0 && plan.seq_length > model.learned_positions)
    return invalid_input(fmt::format("sequence length {} exceeds the {} learned positions of the model",
                                     plan.seq_length, model.learned_positions));
  // Causal attention is balanced over CP by giving each rank one piece from either end.
  if (s.cp > 1) {
    MOESIM_TRY(divides("sequence length", plan.seq_length, "2 x context-parallel size", 2LL * s.cp));
  }
  if ((plan.sequence_parallel || is_moe(model)) && s.tp > 1) {
    MOESIM_TRY(divides("sequence length per context-parallel rank", plan.seq_length / s.cp,
                       "tensor-model-parallel size", s.tp));
  }
  return {};
}

Status check_batch(const Plan& plan) {
  if (plan.micro_batch < 1)
    return invalid_input(fmt::format("micro-batch size is {}, expected at least 1", plan.micro_batch));
  if (plan.global_batch < 1)
    return invalid_input(fmt::format("global batch size is {}, expected at least 1", plan.global_batch));
  const std::int64_t per_round = static_cast<std::int64_t>(plan.micro_batch) * plan.sizes().dp;
  if (plan.global_batch % per_round != 0)
    return invalid_input(
        fmt::format("global batch size ({}) is not divisible by micro batch size ({}) times data parallel "
                    "size ({})",
                    plan.global_batch, plan.micro_batch, plan.sizes().dp));
  return {};
}

Status check_options(const Plan& plan) {
  if (const auto recipe = find_precision(plan.precision); !recipe)
    return invalid_input(recipe.error().what, {}, recipe.error().hint);
  if (!(plan.capacity_factor >= 0 && plan.capacity_factor <= 1e6))
    return invalid_input(
        fmt::format("capacity factor is {}, expected 0 (dropless) or a positive number", plan.capacity_factor));
  if (plan.pad_to_capacity && plan.capacity_factor == 0)
    return invalid_input("pad_to_capacity needs a capacity factor", {}, "set capacity_factor, or drop pad_to_capacity");
  if (plan.grad_placement == GradPlacement::kBetweenExchanges) {
    if (!plan.overlap_grad_reduce)
      return invalid_input("grad_placement between-exchanges needs reductions that overlap with the backward pass", {},
                           "set overlap_grad_reduce to true, or grad_placement to as-ready");
    if (std::max(plan.zero_dense, plan.zero_expert) >= ZeroStage::kGradients)
      return invalid_input(
          "grad_placement between-exchanges holds gradients back, which ZeRO 2 and 3 have no memory for", {},
          "set zero_dense and zero_expert to 0 or 1, or grad_placement to as-ready");
  }
  if (!(plan.comm_sm_share >= 0 && plan.comm_sm_share <= kMostCommSmShare))
    return invalid_input(fmt::format("comm_sm_share is {}, expected 0 to {}", plan.comm_sm_share, kMostCommSmShare), {},
                         "give the part of the compute units that exchanges hold: 20 of 132 are 0.1515");
  if (plan.grad_bucket_elements < 1)
    return invalid_input(fmt::format("gradient bucket of {} elements, expected at least 1", plan.grad_bucket_elements));
  return {};
}

Status check_pipeline(const Plan& plan) {
  const ParallelSizes& s = plan.sizes();
  MOESIM_ASSIGN(const PipelineSchedule* schedule, find_pipeline_schedule(plan.pipeline));
  return schedule->check({s.pp, plan.micro_batches(), s.vpp});
}

}  // namespace

Status check_plan(const Plan& plan, const ModelShape& model, int world) {
  MOESIM_TRY(check_layout(plan.layout, world));
  MOESIM_TRY(check_model_fits(plan, model));
  MOESIM_TRY(check_sequence(plan, model));
  MOESIM_TRY(check_batch(plan));
  MOESIM_TRY(check_options(plan));
  MOESIM_TRY(check_pipeline(plan));
  MOESIM_TRY(split_layers(plan, model));
  return {};
}

std::string wire_note(const Plan& plan) {
  const auto text = [](WireFormat format) {
    return format == WireFormat::kAsComputed ? std::string("as computed")
                                             : fmt::format("in {}", wire_format_name(format));
  };
  return fmt::format(
      "token rows are dispatched {} and combined {}, forward and backward: their rounding changes what is trained, and "
      "by how much is not predicted",
      text(plan.moe_dispatch_format), text(plan.moe_combine_format));
}

std::vector<std::string> plan_notes(const Plan& plan, const ModelShape& model) {
  const ParallelSizes& s = plan.sizes();
  std::vector<std::string> notes;
  for (const LayerShape& kind : model.kinds) {
    const AttentionShape& attention = kind.attention;
    if (attention.kind != AttentionKind::kGrouped || attention.kv_heads < 1 || attention.kv_heads >= s.tp) continue;
    notes.push_back(fmt::format("{} key/value heads on {} TP ranks: each is held {} times", attention.kv_heads, s.tp,
                                s.tp / attention.kv_heads));
    break;
  }
  if (const auto schedule = find_moe_schedule(plan.moe_schedule); schedule && model.first_moe() != nullptr)
    for (std::string& note : (*schedule)->notes(plan)) notes.push_back(std::move(note));
  if (const std::int64_t padded = padded_vocab(model.vocab, s.tp); padded != model.vocab)
    notes.push_back(fmt::format("vocabulary padded from {} to {} rows (a multiple of 128 x TP)", model.vocab, padded));
  if (model.max_positions > 0 && plan.seq_length > model.max_positions)
    notes.push_back(
        fmt::format("sequence length {} exceeds the model's {} positions", plan.seq_length, model.max_positions));
  if (compresses_rows(plan)) notes.push_back(wire_note(plan));
  if (const auto layers = split_layers(plan, model);
      layers && std::adjacent_find(layers->begin(), layers->end(), std::not_equal_to<>()) != layers->end())
    notes.push_back(fmt::format("uneven layers per virtual stage: {}", fmt::join(*layers, " ")));
  return notes;
}

}  // namespace moesim
