#include "sim/layer/play_layer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace moesim {
namespace {

Seconds layer_seconds(Picoseconds time) { return Seconds(static_cast<double>(time) / kPicosecondsPerSecond); }

Result<ReplayResult> replayed_layer(const Program& program, const PricedProgram& priced) {
  ReplayOptions options;
  options.record_intervals = true;
  ReplayResult result = replay(priced.replay, options);
  if (result.finished) return result;
  return fail(ErrorKind::kInternal,
              fmt::format("schedule {} of one layer cannot finish: {}", program.plan.moe_schedule,
                          result.waiting.empty() ? "nothing waits" : result.waiting.front().reason));
}

// Of the call that came first.
LayerTimes times_of(const ReplayResult& result) {
  Picoseconds forward = 0;
  for (const Interval& interval : result.intervals)
    if (interval.call == 0) forward = std::max(forward, interval.end);
  return {layer_seconds(forward), layer_seconds(result.end - forward)};
}

Bytes smallest_device(const ClusterView& view) {
  Bytes smallest = view.devices().front().memory;
  for (const DeviceSpec& device : view.devices()) smallest = std::min(smallest, device.memory);
  return smallest;
}

}  // namespace

Seconds LayerResult::exposed_communication() const {
  Seconds sum;
  for (const Seconds& waited : exposed) sum += waited;
  return sum;
}

Bytes LayerResult::sent_at(int tier) const {
  const auto t = static_cast<std::size_t>(tier);
  return Bytes(std::llround(forward_work.sent_bytes[t] + backward_work.sent_bytes[t]));
}

Result<LayerResult> play_layer(const Program& program, const CostModel& costs) {
  PriceOptions options;
  options.count_work = CountWork::kYes;
  const PricedProgram priced = price(program, costs, options);
  LayerResult layer;
  MOESIM_ASSIGN(layer.replay, replayed_layer(program, priced));
  layer.times = times_of(layer.replay);
  const EntityStatistics& statistics = layer.replay.entities.front();
  for (std::size_t c = 0; c < static_cast<std::size_t>(kCategories); ++c) {
    if (c < statistics.compute_by_category.size()) layer.compute[c] = layer_seconds(statistics.compute_by_category[c]);
    if (c < statistics.exposed_by_category.size()) layer.exposed[c] = layer_seconds(statistics.exposed_by_category[c]);
  }
  layer.forward_work = priced.work[0];
  if (program.blocks.size() > 1) layer.backward_work = priced.work[1];
  layer.memory = walk_memory(program).stages.front();
  layer.fits = fits(layer.memory.peak, smallest_device(costs.view()));
  layer.extrapolated_fraction =
      static_cast<double>(priced.extrapolated_ops) / static_cast<double>(std::max<std::int64_t>(1, priced.priced_ops));
  return layer;
}

Result<LayerTimes> time_layer(const Program& program, const CostModel& costs) {
  const PricedProgram priced = price(program, costs, {});
  MOESIM_ASSIGN(const ReplayResult result, replayed_layer(program, priced));
  return times_of(result);
}

}  // namespace moesim
