#include "sim/placement/replay.hpp"

#include <algorithm>
#include <optional>

#include "sim/placement/greedy_placement.hpp"
#include "sim/placement/layer_replay.hpp"
#include "sim/placement/oracle.hpp"
#include "sim/search/parallel.hpp"

namespace moesim {
namespace {

void finish(const ReplayTrace& trace, PolicyReplay& result) {
  const double weight = total_weight(trace);
  const double parts = static_cast<double>(trace.layers()) * trace.micro_batches();
  Seconds all;
  result.max_over_mean = 0;
  for (int step = 0; step < trace.steps(); ++step) {
    ReplayStep& here = result.steps[static_cast<std::size_t>(step)];
    here.max_over_mean /= parts;
    result.max_over_mean += here.max_over_mean * trace.weight(step) / weight;
    result.switching += here.switching;
    all += here.iteration * trace.weight(step) + here.switching;
  }
  result.mean_iteration = all / weight;
  result.mean_copies = result.mean_copies / weight;
  result.shadowed /= weight * trace.layers();
  result.copies /= weight * trace.layers();
}

}  // namespace

double total_weight(const ReplayTrace& trace) {
  double weight = 0;
  for (int step = 0; step < trace.steps(); ++step) weight += trace.weight(step);
  return weight;
}

PlacementSizes replay_sizes(const ReplayTrace& trace, const PlacementReplayOptions& options) {
  PlacementSizes sizes{trace.devices(), trace.experts(), 0};
  sizes.slots_per_device = sizes.least_slots_per_device() + options.spare_slots;
  return sizes;
}

PolicyReplay replay_policy(const ReplayTrace& trace, const LayerTimeModel& model, const PlacementPolicy& policy,
                           const PlacementReplayOptions& options) {
  MOESIM_ASSERT(model.devices() == trace.devices());
  PolicyReplay result;
  result.policy = policy.name();
  if (trace.tokens(0, 0) != nullptr) result.spread.emplace();
  ReplayStep nothing;
  nothing.max_over_mean = 0;
  result.steps.assign(static_cast<std::size_t>(trace.steps()), nothing);
  for (int layer = 0; layer < trace.layers(); ++layer)
    result.layers.push_back(LayerReplay(trace, model, policy, options, layer).run(result));
  finish(trace, result);
  return result;
}

ReplayBounds replay_bounds(const ReplayTrace& trace, const LayerTimeModel& model,
                           const PlacementReplayOptions& options) {
  ReplayBounds bounds;
  bounds.hot_expert = bounds.contiguous = 0;
  const PlacementSizes sizes = replay_sizes(trace, options);
  const ExpertPlacement contiguous = ExpertPlacement::contiguous(sizes);
  OracleTimer oracle(model, sizes.slots_per_device);
  const double weight = total_weight(trace);
  Seconds all;
  for (int step = 0; step < trace.steps(); ++step) {
    Seconds here;
    const double share = trace.weight(step) / weight / trace.layers() / trace.micro_batches();
    for (int layer = 0; layer < trace.layers(); ++layer) {
      std::optional<TokenNeeds> needs;
      if (options.dispatch == TokenDispatch::kOncePerNode)
        needs = oracle.needs_of(*trace.tokens(step, layer), trace.experts());
      for (int micro_batch = 0; micro_batch < trace.micro_batches(); ++micro_batch) {
        const RecordedCounts counts = trace.counts(step, layer, micro_batch);
        here += (needs ? oracle.time(counts, *needs) : oracle.time(counts)) * options.repeats;
        const std::vector<double> totals = expert_totals(counts);
        bounds.hot_expert += share * hot_expert_bound(totals, trace.devices());
        bounds.contiguous += share * max_over_mean(device_loads(totals, contiguous));
      }
    }
    bounds.oracle.push_back(here);
    all += here * trace.weight(step);
  }
  bounds.mean_oracle = all / weight;
  return bounds;
}

std::vector<PolicyReplay> replay_policies(const ReplayTrace& trace, const LayerTimeModel& model,
                                          std::span<const PlacementPolicy* const> policies,
                                          const PlacementReplayOptions& options, int threads) {
  std::vector<PolicyReplay> results(policies.size());
  parallel_for(policies.size(), threads,
               [&](std::size_t i) { results[i] = replay_policy(trace, model, *policies[i], options); });
  return results;
}

TuningSpace default_tuning_space(const ReplayTrace& trace) {
  const std::int64_t first = trace.iterations().front();
  const std::int64_t stride = std::max<std::int64_t>(1, trace.iterations()[1] - first);
  TuningSpace space;
  for (const std::int64_t times : {1, 2, 5, 10, 20, 50})
    if (times == 1 || times * stride < trace.iterations().back() - first) space.periods.push_back(times * stride);
  space.hysteresis = {1, 1.02, 1.05, 1.1, 1.2};
  return space;
}

TunedReplay tune_policy(const ReplayTrace& trace, const LayerTimeModel& model, const PlacementPolicy& policy,
                        const PlacementReplayOptions& options, const TuningSpace& space, int threads) {
  const std::size_t columns = space.hysteresis.size();
  std::vector<TunedReplay> tried(space.periods.size() * columns);
  parallel_for(tried.size(), threads, [&](std::size_t i) {
    PlacementReplayOptions point = options;
    point.period = tried[i].period = space.periods[i / columns];
    point.hysteresis = tried[i].hysteresis = space.hysteresis[i % columns];
    tried[i].replay = replay_policy(trace, model, policy, point);
  });
  return *std::min_element(tried.begin(), tried.end(), [](const TunedReplay& a, const TunedReplay& b) {
    return a.replay.mean_iteration < b.replay.mean_iteration;
  });
}

}  // namespace moesim
