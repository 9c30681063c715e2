#include "sim/placement/local_search.hpp"

#include <algorithm>
#include <limits>

#include "sim/placement/incremental_time.hpp"
#include "traces/random.hpp"

namespace moesim {

LocalSearchResult search_placement(const LayerTimeModel& model, const PredictedCounts& counts,
                                   const ExpertPlacement& start, const LocalSearchOptions& options) {
  IncrementalLayerTime layer(model, counts, start);
  const PlacementSizes& sizes = start.sizes();
  LocalSearchResult result{start, layer.time()};
  std::vector<std::int32_t> best(layer.expert_of_slot().begin(), layer.expert_of_slot().end());
  Pcg32 random(options.seed);
  const bool order_matters = model.rounds == ExchangeRounds::kPerSlot;
  const auto slots = static_cast<std::uint32_t>(sizes.slots());
  const double first = layer.smoothed().value();
  double now = first;
  double lowest = first;
  for (std::int64_t i = 0; i < options.candidates; ++i) {
    const auto a = static_cast<int>(random.below(slots));
    const auto b = static_cast<int>(random.below(slots));
    const std::int32_t expert_a = layer.expert_of_slot()[static_cast<std::size_t>(a)];
    const std::int32_t expert_b = layer.expert_of_slot()[static_cast<std::size_t>(b)];
    const bool same_device = a / sizes.slots_per_device == b / sizes.slots_per_device;
    if (expert_a == expert_b || (same_device && !order_matters)) continue;
    layer.swap(a, b);
    const double smoothed = layer.smoothed().value();
    const double left = 1 - static_cast<double>(i) / static_cast<double>(options.candidates);
    if (smoothed > now && smoothed > lowest + options.first_margin * left * first) {
      layer.swap(a, b);
      continue;
    }
    now = smoothed;
    lowest = std::min(lowest, smoothed);
    if (const Seconds time = layer.time(); time < result.time) {
      result.time = time;
      best.assign(layer.expert_of_slot().begin(), layer.expert_of_slot().end());
    }
  }
  Result<ExpertPlacement> placement = ExpertPlacement::make(sizes, std::move(best));
  MOESIM_ASSERT(placement.has_value());
  result.placement = std::move(*placement);
  return result;
}

Seconds least_time_without_copies(const LayerTimeModel& model, const PredictedCounts& counts) {
  const std::vector<double> totals = expert_totals(counts);
  const auto hottest = std::max_element(totals.begin(), totals.end());
  double own = 0;  // of the device that makes most of the tokens for it
  for (int d = 0; d < counts.devices; ++d)
    own = std::max(own, counts.at(d, static_cast<int>(hottest - totals.begin())));
  double all = 0;
  for (const double total : totals) all += total;
  double speed = 0;
  double fastest = 0;
  for (const double s : model.speed) speed += s, fastest = std::max(fastest, s);
  const double work = std::max(all / speed, *hottest / fastest);
  double exchange = std::numeric_limits<double>::infinity();
  for (const ExchangeTier& tier : model.tiers) {
    // Through all tiers side by side at best.
    double least = tier.in_s_per_byte.front();
    for (const double port : tier.in_s_per_byte) least = std::min(least, port);
    const double arriving = (*hottest - own) / static_cast<double>(model.tiers.size());
    exchange = std::min(exchange, tier.curve.at(arriving * model.row.value() * least));
  }
  if (model.tiers.empty() || *hottest <= own) exchange = 0;
  return model.fixed + Seconds((work > 0 ? model.compute.at(work) : 0) + model.exchanges * exchange);
}

}  // namespace moesim
