#include "sim/layer/one_layer.hpp"

#include <algorithm>
#include <utility>

#include "sim/lower/grad_placement.hpp"
#include "sim/lower/grad_sync.hpp"
#include "sim/lower/lower_chunk.hpp"
#include "sim/lower/moe_schedule.hpp"
#include "sim/program/block_dependencies.hpp"
#include "sim/simulate/step.hpp"

namespace moesim {
namespace {

constexpr std::uint16_t kEveryStream = (1U << kStreams) - 1;

// The loads of one MoE layer out of those of a model.
std::shared_ptr<const RoutedLoads> layer_of(std::shared_ptr<const RoutedLoads> loads, int layer) {
  if (loads->moe_layers == 1) return loads;
  RoutedLoads one = *loads;
  one.moe_layers = 1;
  const auto take = [&](std::vector<std::int32_t>& table) {
    if (table.empty()) return;
    const auto cells = static_cast<std::ptrdiff_t>(table.size() / static_cast<std::size_t>(loads->moe_layers));
    table = std::vector<std::int32_t>(table.begin() + layer * cells, table.begin() + (layer + 1) * cells);
  };
  take(one.counts);
  take(one.chosen);
  return std::make_shared<const RoutedLoads>(std::move(one));
}

Result<std::shared_ptr<const RoutedLoads>> layer_loads(const Plan& plan, const ModelShape& model,
                                                       const LayerRouting& routing) {
  ModelShape all = model;
  if (routing.trace != nullptr) all.layers.assign(static_cast<std::size_t>(routing.moe_layers), model.layers.front());
  MOESIM_ASSIGN(std::shared_ptr<const RoutedLoads> loads, loads_for(plan, all, routing.trace, 1));
  return layer_of(std::move(loads), routing.trace != nullptr ? routing.moe_layer : 0);
}

// All ranks of a TP group have their slices in order; together they are the whole.
TensorId add_gather(Chunk& chunk, std::vector<Op>& ops, TensorId slice, const Plan& plan, Phase phase) {
  Tensor whole = chunk.tensors[slice.index()];
  whole.name = phase == Phase::kForward ? "layer.output" : "layer.input_gradient";
  whole.rows.count *= plan.sizes().tp;
  const TensorId id(static_cast<std::int32_t>(chunk.tensors.size()));
  chunk.tensors.push_back(whole);
  Op op;
  op.kind = OpKind::kAllGather;
  op.phase = phase;
  op.stream = Stream::kTp;
  op.group = GroupKind::kTp;
  op.layer = LayerId(0);
  op.name = phase == Phase::kForward ? "layer.gather" : "layer.gather_gradient";
  op.inputs.push_back(slice);
  op.outputs.push_back(id);
  ops.push_back(op);
  return id;
}

// A pass begins when everything before it has ended.
void begin_after_everything(std::vector<Op>& ops) {
  const BlockDependencies waits = block_dependencies(ops);
  for (std::size_t i = 0; i < ops.size(); ++i)
    if (waits.of(i).empty()) ops[i].wait_streams = kEveryStream;
}

// What the end of a step sums over TP: the gradients of a router that each rank saw its own tokens of.
void add_sums_over_tp(std::vector<Op>& ops, const Chunk& chunk, const Plan& plan) {
  const std::int64_t elements = elements_summed_over_tp(chunk, plan.sizes().tp);
  if (elements == 0) return;
  Op op;
  op.kind = OpKind::kReduceGrads;
  op.phase = Phase::kGradSync;
  op.stream = Stream::kTp;
  op.group = GroupKind::kTp;
  op.name = "sync.tp_shared_grads";
  op.payload_elements = elements;
  op.payload_type = DType::kFp32;
  op.wait_streams = kEveryStream;
  ops.push_back(op);
}

}  // namespace

ModelShape one_layer_model(const ModelShape& model, LayerId layer) {
  ModelShape one = model;
  one.kinds = {model.layer(layer)};
  one.layers = {0};
  return one;
}

ModelShape one_layer_model(std::int64_t hidden, const MoeShape& moe) {
  ModelShape one;
  one.name = "layer";
  one.hidden = hidden;
  LayerShape layer;
  layer.moe = moe;
  one.kinds = {std::move(layer)};
  one.layers = {0};
  return one;
}

Result<LayerCase> make_layer_case(ModelShape model, Plan plan, const LayerRouting& routing,
                                  std::shared_ptr<const Layout> layout) {
  MOESIM_ASSERT(model.layer_count() == 1 && model.first_moe() != nullptr);
  LayerCase layer;
  plan.global_batch = plan.micro_batch * plan.sizes().dp;
  plan.stage_layers.clear();
  plan.sequence_parallel = true;
  // The attention is not looked at, so its heads need not divide.
  layer.model = std::move(model);
  layer.model.kinds.front().attention = {};
  MOESIM_TRY(check_plan(plan, layer.model, plan.sizes().world()));
  if (plan.sizes().pp != 1) return usage_error("one layer has no pipeline", "set pp to 1");
  if (!layout) {
    MOESIM_ASSIGN(Layout made, Layout::make(plan.layout, plan.sizes().world()));
    layout = std::make_shared<const Layout>(std::move(made));
  }
  layer.layout = std::move(layout);
  MOESIM_ASSIGN(layer.loads, layer_loads(plan, layer.model, routing));
  layer.plan = std::move(plan);
  return layer;
}

Result<Plan> plan_of_schedule(const LayerCase& layer, std::string_view schedule, LayerBoundary boundary) {
  MOESIM_ASSIGN(const MoeSchedule* found, find_moe_schedule(schedule));
  const MoeShape& shape = *layer.model.first_moe();
  Plan plan = layer.plan;
  plan.moe_schedule = schedule;
  plan.moe_shadows = 0;  // of its own choice
  if (!found->visits()) plan.layout.sizes.ep_on_node = 1;
  if (boundary == LayerBoundary::kWhole && plan.sizes().tp > 1) {
    plan.sequence_parallel = false;
    if (found->check(plan, shape)) return plan;
    plan.sequence_parallel = true;
  }
  MOESIM_TRY(found->check(plan, shape));
  return plan;
}

Result<Program> lower_layer(const LayerCase& layer, std::string_view schedule, const LayerOptions& options) {
  MOESIM_ASSIGN(const Plan plan, plan_of_schedule(layer, schedule, options.boundary));
  return lower_layer(layer, plan, options);
}

Result<Program> lower_layer(const LayerCase& layer, const Plan& plan, const LayerOptions& options) {
  Program program;
  program.plan = plan;
  MOESIM_ASSIGN(program.recipe, find_precision(plan.precision));
  program.model = layer.model;
  program.layout = layer.layout;
  MOESIM_ASSIGN(const MoeSchedule* found, find_moe_schedule(plan.moe_schedule));
  program.division = found->division(plan);
  program.loads = loads_of_schedule(*found, layer.loads, plan, layer.model, *program.layout);
  Chunk& chunk = program.chunks.emplace_back();
  chunk.stage = StageId(0);
  chunk.last_layer = 1;
  MOESIM_ASSIGN(ChunkOps ops, lower_moe_block(plan, program.model, *program.layout, program.recipe, chunk));
  const bool sliced = options.boundary == LayerBoundary::kWhole && plan.sequence_parallel && plan.sizes().tp > 1;
  if (sliced) add_gather(chunk, ops.forward, chunk.output, plan, Phase::kForward);
  program.blocks.push_back({BlockKind::kForward, 0, -1, std::move(ops.forward)});
  StageProgram& stage = program.stages.emplace_back();
  stage.calls.push_back({0, 0, -1});
  if (options.passes == LayerPasses::kForward) return program;

  std::vector<Op>& backward = ops.backward.input;
  if (sliced) add_gather(chunk, backward, chunk.input_gradient, plan, Phase::kBackwardInput);
  begin_after_everything(backward);
  if (options.gradients == LayerGradients::kReduced) {
    add_grad_reductions(backward, chunk, plan, *program.layout, WhichPass::kLastBackward, program.buckets);
    if (plan.grad_placement == GradPlacement::kBetweenExchanges) place_between_exchanges(backward);
    add_sums_over_tp(backward, chunk, plan);
  }
  program.blocks.push_back({BlockKind::kBackward, 0, -1, std::move(backward)});
  stage.calls.push_back({1, 0, -1});
  return program;
}

}  // namespace moesim
