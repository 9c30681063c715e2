#include "sim/program/routed_loads.hpp"

#include <algorithm>
#include <cmath>
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
