// The topologies of all groups asked for, each worked out once. Thread-safe.
//
// A search looks at the same groups in plan after plan, and in a regular cluster the groups of one pipeline stage lie as
// those of the next: ranks are moved down by whole periods of the cluster before they are looked up. Worked: with a
// period of 8, the groups {16, 18} and {8, 10} have the topology of {0, 2}.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <shared_mutex>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/ids.hpp"
#include "models/cost/collective.hpp"

namespace moesim {

class TopologyCache {
 public:
  // `view` must outlive the cache.
  explicit TopologyCache(const ClusterView& view) : view_(&view) {}

  [[nodiscard]] const GroupTopology& of(std::span<const RankId> ranks);

 private:
  [[nodiscard]] const GroupTopology* find(std::uint64_t key, const std::vector<RankId>& ranks) const;

  const ClusterView* view_;
  std::shared_mutex mutex_;
  std::unordered_multimap<std::uint64_t, std::unique_ptr<const GroupTopology>> known_;  // by hash of the ranks
};

}  // namespace moesim
