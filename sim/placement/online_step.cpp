#include "sim/placement/online_step.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "sim/engine/category.hpp"
#include "sim/engine/join_compute.hpp"
#include "sim/lower/moe_schedule.hpp"
#include "sim/memory/memory_walk.hpp"

namespace moesim {
namespace {

// 1 where there was nothing.
double ratio(Seconds after, Seconds before) { return before > Seconds(0) ? after / before : 1; }

// Experts' computation and whatever else is done once for each copy that reached the rank: permutation, gathers over ESP.
bool follows_arrivals(const Op& op, const Chunk& chunk) {
  if (category_of(op) == Category::kExperts) return true;
  const auto arrived = [&](TensorId id) {
    const RowSource source = chunk.tensors[id.index()].rows.source;
    return source == RowSource::kArrived || source == RowSource::kArrivedShards;
  };
  return std::ranges::any_of(op.inputs, arrived) || std::ranges::any_of(op.outputs, arrived);
}

MoeLayerScale overall_scale(const PolicyReplay& still, const PolicyReplay& moving) {
  const auto sum = [](const PolicyReplay& replay, Seconds LayerTotals::*part) {
    Seconds all;
    for (const LayerTotals& layer : replay.layers) all += layer.*part;
    return all;
  };
  return {ratio(sum(moving, &LayerTotals::compute), sum(still, &LayerTotals::compute)),
          ratio(sum(moving, &LayerTotals::exchange), sum(still, &LayerTotals::exchange))};
}

// Weights and gradients of the spare slots on the rank that has most MoE layers.
Bytes spare_bytes(const std::vector<std::vector<double>>& stages, const ExpertBytes& expert, int spare_slots) {
  std::ptrdiff_t layers = 0;
  for (const std::vector<double>& shares : stages)
    layers = std::max(layers, std::ranges::count_if(shares, [](double share) { return share > 0; }));
  return (expert.weights + expert.gradients) * (std::int64_t{spare_slots} * layers);
}

// Which of several copies a token goes to is not modelled where it is sent once.
Result<TokenDispatch> dispatch_of(const Plan& plan, const TokenSample& tokens, int spare_slots) {
  MOESIM_ASSIGN(const MoeSchedule* schedule, find_moe_schedule(plan.moe_schedule));
  const bool once = schedule->visits() && !tokens.empty() && spare_slots == 0;
  return once ? TokenDispatch::kOncePerNode : TokenDispatch::kCopies;
}

Status check_spare_memory(const StepMetrics& fixed, Bytes spare, const ClusterView& view) {
  Bytes memory = view.device(RankId(0)).memory;
  for (const DeviceSpec& device : view.devices()) memory = std::min(memory, device.memory);
  if (fits(fixed.peak_memory + spare, memory)) return {};
  constexpr double kGiB = 1ULL << 30;
  return fail(ErrorKind::kNoFeasiblePlan,
              fmt::format("its spare slots take {:.1f} GiB beside {:.1f} GiB of the plan and 4 GiB for the framework, "
                          "the device has {:.1f} GiB",
                          spare.value() / kGiB, fixed.peak_memory.value() / kGiB, memory.value() / kGiB));
}

}  // namespace

std::vector<MoeLayerScale> layer_scales(const PolicyReplay& still, const PolicyReplay& moving) {
  std::vector<MoeLayerScale> scales;
  for (std::size_t i = 0; i < still.layers.size(); ++i)
    scales.push_back({ratio(moving.layers[i].compute, still.layers[i].compute),
                      ratio(moving.layers[i].exchange, still.layers[i].exchange)});
  return scales;
}

Seconds play_scaled(const SimulatedStep& step, const std::vector<MoeLayerScale>& scales) {
  const Program& program = step.program;
  const std::vector<int> moe_number = program.model.moe_layer_numbers();
  ReplayProgram scaled = step.priced.replay;
  // Operations name places in the tables of their stage's entities.
  std::vector<StageId> stage_of_table(scaled.durations.size());
  for (std::size_t e = 0; e < scaled.entities.size(); ++e)
    stage_of_table[scaled.entities[e].durations] = step.priced.entities[e].stage;
  const auto scale = [&](std::size_t block, std::size_t index) {
    const ReplayOp& op = scaled.blocks[block].ops[index];
    const Op& meaning = program.blocks[block].ops[index];
    const bool exchanges = static_cast<Category>(op.category) == Category::kEpComm;
    if (!meaning.layer.valid()) return;
    if (!exchanges && !follows_arrivals(meaning, program.chunk_of(program.blocks[block], meaning))) return;
    const MoeLayerScale& layer = scales[static_cast<std::size_t>(moe_number[meaning.layer.index()])];
    const double factor = exchanges ? layer.exchange : layer.compute;
    const StageId stage = program.chunks[static_cast<std::size_t>(program.blocks[block].chunk)].stage;
    const auto last = op.duration + static_cast<std::uint32_t>(op.varies ? program.loads->variants : 1);
    for (std::size_t table = 0; table < scaled.durations.size(); ++table)
      for (std::uint32_t i = op.duration; stage_of_table[table] == stage && i < last; ++i)
        scaled.durations[table][i] = std::llround(static_cast<double>(scaled.durations[table][i]) * factor);
  };
  for (std::size_t block = 0; block < scaled.blocks.size(); ++block)
    for (std::size_t op = 0; op < scaled.blocks[block].ops.size(); ++op) scale(block, op);
  return Seconds(static_cast<double>(replay_joined(scaled, {}).end) / kPicosecondsPerSecond);
}

StageExtras largest_extras(const std::vector<std::vector<double>>& stages, const PolicyReplay& moving,
                           double iterations) {
  StageExtras most;
  for (const std::vector<double>& shares : stages) {
    StageExtras here;
    for (std::size_t layer = 0; layer < shares.size(); ++layer) {
      if (shares[layer] == 0) continue;
      here.copies += moving.layers[layer].copies;
      here.switching += moving.layers[layer].switching / iterations;
    }
    most = {std::max(most.copies, here.copies), std::max(most.switching, here.switching)};
  }
  return most;
}

Result<OnlineStep> online_step(const Plan& plan, const StepMetrics& fixed, const OnlineSetting& setting,
                               const PlacementPolicy& policy, PlacementReplayOptions options) {
  OnlineStep online;
  online.step_time = online.replayed = fixed.step_time;
  if (plan.sizes().ep == 1) return online;
  MOESIM_ASSIGN(const auto stages, layers_of_stages(plan, setting.model));
  MOESIM_ASSIGN(PlanReplay replay, replay_of_plan(plan, setting.model, setting.costs, setting.recording));
  online.spare = spare_bytes(stages, replay.model.expert, options.spare_slots);
  MOESIM_TRY(check_spare_memory(fixed, online.spare, setting.costs.view()));
  replay.put_into(options);
  replay.trace.attach(setting.recording, setting.tokens);
  MOESIM_ASSIGN(options.dispatch, dispatch_of(plan, setting.tokens, options.spare_slots));
  online.dispatch = options.dispatch;
  if (options.dispatch == TokenDispatch::kOncePerNode)
    for (int device = 0; device < replay.model.devices(); ++device)
      replay.model.node_of_device[static_cast<std::size_t>(device)] = device / plan.sizes().ep_on_node;
  const PolicyReplay still = replay_policy(replay.trace, replay.model, *placement_policies().front(), options);
  const PolicyReplay moving = replay_policy(replay.trace, replay.model, policy, options);
  MOESIM_ASSIGN(const SimulatedStep step, simulate_step(plan, setting.model, setting.costs, &setting.pooled, {}));
  online.replayed = play_scaled(step, layer_scales(still, moving));
  const StageExtras extras = largest_extras(stages, moving, total_weight(replay.trace));
  online.copies = extras.copies;
  online.switching = extras.switching;
  online.step_time = online.replayed + online.copies + online.switching;
  online.overall = overall_scale(still, moving);
  online.max_over_mean = moving.max_over_mean;
  online.changes = moving.changes;
  online.moves = moving.moves;
  return online;
}

}  // namespace moesim
