#include "sim/program/routed_loads.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace moesim {

RoutedLoads balanced_routed_loads(int moe_layers, int experts, int top_k, std::int64_t tokens_per_source) {
  RoutedLoads loads;
  loads.moe_layers = moe_layers;
  loads.experts = experts;
  loads.top_k = top_k;
  loads.tokens_per_source = tokens_per_source;
  const std::int64_t selections = tokens_per_source * top_k;
  // What does not divide goes to every (experts/remainder)-th expert, so that no rank's run of experts gets all of it.
  for (int layer = 0; layer < moe_layers; ++layer)
    for (std::int64_t expert = 0; expert < experts; ++expert)
      loads.counts.push_back(
          static_cast<std::int32_t>((expert + 1) * selections / experts - expert * selections / experts));
  return loads;
}

Result<RoutedLoads> routed_loads_from(const LoadMapper& mapper, int moe_layers, int experts, int top_k,
                                      std::int64_t tokens_per_source, int sources, int micro_batches) {
  LoadRequest request;
  request.moe_layers = moe_layers;
  request.experts = experts;
  request.top_k = top_k;
  request.tokens_per_source = tokens_per_source;
  request.source_ranks = std::min(sources, kMostSources);
  request.micro_batches = std::min(micro_batches, kMostVariants);
  MOESIM_ASSIGN(ExpertLoads mapped, mapper.loads(request));
  RoutedLoads loads;
  loads.moe_layers = moe_layers;
  loads.variants = request.micro_batches;
  loads.sources = request.source_ranks;
  loads.experts = experts;
  loads.top_k = top_k;
  loads.tokens_per_source = tokens_per_source;
  loads.counts = std::move(mapped.counts);
  loads.balanced = false;
  loads.notes = std::move(mapped.notes);
  return loads;
}

ShadowPlace RoutedLoads::shadow_place(int moe_layer, int expert) const {
  const std::span<const std::int32_t> list = shadows_in(moe_layer, {CutBy::kShadow, 0, 1});
  const auto found = std::lower_bound(list.begin(), list.end(), expert);
  if (found == list.end() || *found != expert) return {};
  return {static_cast<int>(found - list.begin()), static_cast<int>(list.size())};
}

std::span<const std::int32_t> RoutedLoads::shadows_in(int moe_layer, const RowPiece& piece) const {
  const int count = shadow_count();
  const int first = count * piece.index / piece.of;
  const int last = count * (piece.index + 1) / piece.of;
  return std::span(shadows).subspan(static_cast<std::size_t>(moe_layer * count + first),
                                    static_cast<std::size_t>(last - first));
}

std::shared_ptr<const RoutedLoads> by_slot(std::shared_ptr<const RoutedLoads> loads, const ExpertSlots& slots) {
  const bool spare = slots.has_spare(loads->experts);
  if (slots.in_order() || (loads->balanced && !spare) || loads->moe_layers == 0) return loads;
  RoutedLoads placed = *loads;
  if (placed.chosen.empty()) placed.chosen = placed.counts;
  placed.spare_slots = static_cast<int>(slots.slots(loads->experts)) - loads->experts;
  placed.balanced = loads->balanced && !spare;  // layers differ
  placed.counts.clear();
  placed.counts.reserve(loads->counts.size() / static_cast<std::size_t>(loads->experts) *
                        static_cast<std::size_t>(placed.slots()));
  std::vector<int> holders(static_cast<std::size_t>(loads->experts));    // [expert]: slots that hold it
  std::vector<int> number_of(static_cast<std::size_t>(placed.slots()));  // [slot]: its number among those
  for (int layer = 0; layer < loads->moe_layers; ++layer) {
    std::fill(holders.begin(), holders.end(), 0);
    for (int slot = 0; slot < placed.slots(); ++slot)
      if (const std::int32_t expert = slots.expert(layer, slot); expert != kNoExpert)
        number_of[static_cast<std::size_t>(slot)] = holders[static_cast<std::size_t>(expert)]++;
    for (int variant = 0; variant < loads->variants; ++variant)
      for (int source = 0; source < loads->sources; ++source) {
        const std::span<const std::int32_t> chosen = loads->row(layer, variant, source);
        for (int slot = 0; slot < placed.slots(); ++slot) {
          const std::int32_t expert = slots.expert(layer, slot);
          if (expert == kNoExpert) {
            placed.counts.push_back(0);
            continue;
          }
          const auto e = static_cast<std::size_t>(expert);
          placed.counts.push_back(static_cast<std::int32_t>(
              dealt_rows(chosen[e], number_of[static_cast<std::size_t>(slot)], holders[e], loads->turn(source))));
        }
      }
  }
  return std::make_shared<const RoutedLoads>(std::move(placed));
}

std::shared_ptr<const RoutedLoads> with_shadows(std::shared_ptr<const RoutedLoads> loads, int count) {
  if (count == 0 || loads->moe_layers == 0) return loads;
  RoutedLoads shadowed = *loads;
  for (int layer = 0; layer < loads->moe_layers; ++layer) {
    std::vector<std::int64_t> copies(static_cast<std::size_t>(loads->experts), 0);
    for (int variant = 0; variant < loads->variants; ++variant)
      for (int source = 0; source < loads->sources; ++source) {
        const auto row = loads->row(layer, variant, source);
        for (std::size_t e = 0; e < copies.size(); ++e) copies[e] += row[e];
      }
    std::vector<std::int32_t> hottest(copies.size());
    std::iota(hottest.begin(), hottest.end(), 0);
    std::stable_sort(hottest.begin(), hottest.end(), [&copies](std::int32_t a, std::int32_t b) {
      return copies[static_cast<std::size_t>(a)] > copies[static_cast<std::size_t>(b)];
    });
    hottest.resize(static_cast<std::size_t>(count));
    std::sort(hottest.begin(), hottest.end());
    shadowed.shadows.insert(shadowed.shadows.end(), hottest.begin(), hottest.end());
  }
  return std::make_shared<const RoutedLoads>(std::move(shadowed));
}

std::int64_t expert_capacity(double factor, std::int64_t tokens, std::int64_t top_k, std::int64_t experts) {
  return static_cast<std::int64_t>(
      std::ceil(factor * static_cast<double>(tokens) * static_cast<double>(top_k) / static_cast<double>(experts)));
}

std::int64_t apply_capacity(RoutedLoads& loads, double factor, bool pad) {
  const auto capacity =
      static_cast<std::int32_t>(expert_capacity(factor, loads.tokens_per_source, loads.top_k, loads.experts));
  std::int64_t dropped = 0;
  loads.chosen = loads.counts;
  for (std::int32_t& count : loads.counts) {
    dropped += std::max(0, count - capacity);
    count = pad ? capacity : std::min(count, capacity);
  }
  return dropped;
}

}  // namespace moesim
