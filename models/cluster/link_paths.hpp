// The links of a cluster and which of them a rank's bytes cross on their way to ranks that it meets: what the flows regime needs of
// the topology graph, which ClusterView has boiled down to ports.
//
// A *level* is a kind of meeting point (scale-up domain, PCIe switch, host, leaf, ...), innermost first; those at which some pair meets
// first are the view's tiers. A path leads away from the device, nearest link first; a message from a to b that meet at a level
// crosses the path of a outwards and that of b inwards. Numbers of links are those of the graph's edges.
// Example, 2 nodes of 8 H100 on rail leaves and a spine: at the level of tier nvlink a path has 1 link, at the leaf's 2 (to the NIC, to
// the leaf), at the spine's 3.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/error.hpp"
#include "base/ids.hpp"
#include "models/cluster/cluster_spec.hpp"

namespace moesim {

struct ClusterLink {
  LinkClass link = LinkClass::kOther;
  LinkRate rate{};         // per direction
  std::int32_t users = 0;  // ranks whose ways outwards take it
};

struct LinkPaths {
  std::vector<ClusterLink> links;
  int ranks = 0;
  std::vector<std::int32_t> level_of_tier;
  std::vector<std::int32_t> steps;        // of all paths
  std::vector<std::int64_t> first_step;   // [level * ranks + rank], one more at the end
  std::vector<std::int32_t> meeting;      // [level * ranks + rank]: where, -1: the rank does not get there
  std::vector<Seconds> latency_of_level;  // one way between two ranks, the longest there is

  [[nodiscard]] int levels() const { return static_cast<int>(latency_of_level.size()); }
  [[nodiscard]] std::size_t cell(int level, RankId rank) const {
    return static_cast<std::size_t>(level) * static_cast<std::size_t>(ranks) + rank.index();
  }
  [[nodiscard]] std::span<const std::int32_t> path(int level, RankId rank) const {
    const auto begin = static_cast<std::size_t>(first_step[cell(level, rank)]);
    return std::span(steps).subspan(begin, static_cast<std::size_t>(first_step[cell(level, rank) + 1]) - begin);
  }
  [[nodiscard]] bool meet(int level, RankId a, RankId b) const {
    return meeting[cell(level, a)] >= 0 && meeting[cell(level, a)] == meeting[cell(level, b)];
  }
};

// Tiers and ranks are numbered as in compile()'s ClusterView, whose errors it has.
[[nodiscard]] Result<LinkPaths> compile_links(const ClusterSpec& spec);

}  // namespace moesim
