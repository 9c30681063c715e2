// The search of local_search.hpp over any price of a layer that follows swaps of two slots: Layer has swap(slot, slot), which the same
// swap undoes, time(), smoothed() and expert_of_slot().
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "sim/placement/local_search.hpp"
#include "traces/random.hpp"

namespace moesim {

enum class SlotOrder : std::uint8_t { kMatters, kIsIndifferent };  // of the slots of one device

template <class Layer>
[[nodiscard]] LocalSearchResult search_swaps(Layer& layer, const ExpertPlacement& start, SlotOrder order,
                                             const LocalSearchOptions& options) {
  const PlacementSizes& sizes = start.sizes();
  LocalSearchResult result{start, layer.time()};
  std::vector<std::int32_t> best(layer.expert_of_slot().begin(), layer.expert_of_slot().end());
  Pcg32 random(options.seed);
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
    if (expert_a == expert_b || (same_device && order == SlotOrder::kIsIndifferent)) continue;
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

}  // namespace moesim
