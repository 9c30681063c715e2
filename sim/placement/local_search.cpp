#include "sim/placement/local_search.hpp"

#include <algorithm>
#include <limits>

#include "sim/placement/incremental_time.hpp"
#include "sim/placement/swap_search.hpp"

namespace moesim {

LocalSearchResult search_placement(const LayerTimeModel& model, const PredictedCounts& counts,
                                   const ExpertPlacement& start, const LocalSearchOptions& options) {
  IncrementalLayerTime layer(model, counts, start);
  const bool in_rounds = model.rounds == ExchangeRounds::kPerSlot;
  return search_swaps(layer, start, in_rounds ? SlotOrder::kMatters : SlotOrder::kIsIndifferent, options);
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
