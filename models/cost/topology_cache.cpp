#include "models/cost/topology_cache.hpp"

#include <algorithm>
#include <mutex>
#include <utility>

namespace moesim {
namespace {

std::uint64_t hash_of(const std::vector<RankId>& ranks) {
  std::uint64_t hash = 0;
  for (const RankId rank : ranks) {
    hash = (hash ^ static_cast<std::uint64_t>(rank.value())) * 0x9E3779B97F4A7C15ULL;
    hash ^= hash >> 29U;
  }
  return hash;
}

}  // namespace

const GroupTopology& TopologyCache::of(std::span<const RankId> ranks) {
  std::vector<RankId> moved(ranks.begin(), ranks.end());
  if (!moved.empty()) {
    const int first = std::min_element(moved.begin(), moved.end())->value();
    const int by = first - first % view_->period();
    for (RankId& rank : moved) rank = RankId(rank.value() - by);
  }
  const std::uint64_t key = hash_of(moved);
  {
    const std::shared_lock lock(mutex_);
    if (const GroupTopology* known = find(key, moved)) return *known;
  }
  auto made = std::make_unique<const GroupTopology>(*view_, moved);
  const std::unique_lock lock(mutex_);
  if (const GroupTopology* known = find(key, moved)) return *known;
  return *known_.emplace(key, std::move(made))->second;
}

const GroupTopology* TopologyCache::find(std::uint64_t key, const std::vector<RankId>& ranks) const {
  const auto [first, last] = known_.equal_range(key);
  for (auto entry = first; entry != last; ++entry)
    if (std::equal(ranks.begin(), ranks.end(), entry->second->ranks().begin(), entry->second->ranks().end()))
      return entry->second.get();
  return nullptr;
}

}  // namespace moesim
