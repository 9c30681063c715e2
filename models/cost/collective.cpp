#include "models/cost/collective.hpp"

#include <algorithm>
#include <limits>
#include <numeric>
#include <unordered_map>
#include <utility>

#include "base/error.hpp"
#include "models/cost/cost.hpp"

namespace moesim {
namespace {

GroupTopology::Split split_of(std::vector<std::int32_t> labels) {
  std::sort(labels.begin(), labels.end());
  GroupTopology::Split split{.parts = 0, .smallest = std::numeric_limits<int>::max(), .largest = 0};
  for (auto first = labels.begin(); first != labels.end();) {
    const auto last = std::upper_bound(first, labels.end(), *first);
    const int size = static_cast<int>(last - first);
    ++split.parts;
    split.smallest = std::min(split.smallest, size);
    split.largest = std::max(split.largest, size);
    first = last;
  }
  return split;
}

// Numbers the distinct values in order of first appearance.
std::vector<std::int32_t> dense_labels(std::span<const std::int32_t> values) {
  std::unordered_map<std::int32_t, std::int32_t> number;
  std::vector<std::int32_t> labels;
  labels.reserve(values.size());
  for (const std::int32_t value : values)
    labels.push_back(number.emplace(value, static_cast<std::int32_t>(number.size())).first->second);
  return labels;
}

class DisjointSets {
 public:
  explicit DisjointSets(std::size_t size) : parent_(size) { std::iota(parent_.begin(), parent_.end(), 0); }
  std::int32_t find(std::int32_t element) {
    while (parent_[static_cast<std::size_t>(element)] != element) {
      std::int32_t& up = parent_[static_cast<std::size_t>(element)];
      up = parent_[static_cast<std::size_t>(up)];
      element = up;
    }
    return element;
  }
  void join(std::int32_t a, std::int32_t b) { parent_[static_cast<std::size_t>(find(a))] = find(b); }

 private:
  std::vector<std::int32_t> parent_;
};

}  // namespace

std::string_view collective_name(CollectiveKind kind) {
  switch (kind) {
    case CollectiveKind::kAllReduce: return "all_reduce";
    case CollectiveKind::kAllGather: return "all_gather";
    case CollectiveKind::kReduceScatter: return "reduce_scatter";
    case CollectiveKind::kAllToAll: return "all_to_all";
    case CollectiveKind::kBroadcast: return "broadcast";
    case CollectiveKind::kSendRecv: return "send_recv";
  }
  return "?";
}

std::string_view algorithm_name(CollectiveAlgorithm algorithm) {
  switch (algorithm) {
    case CollectiveAlgorithm::kAuto: return "auto";
    case CollectiveAlgorithm::kRing: return "ring";
    case CollectiveAlgorithm::kTree: return "tree";
    case CollectiveAlgorithm::kSwitch: return "switch";
    case CollectiveAlgorithm::kHierarchical: return "hierarchical";
    case CollectiveAlgorithm::kPairwise: return "pairwise";
    case CollectiveAlgorithm::kNetwork: return "network";
  }
  return "?";
}

GroupTopology::GroupTopology(const ClusterView& view, std::span<const RankId> ranks)
    : view_(&view), ranks_(ranks.begin(), ranks.end()) {
  const std::size_t tiers = view.tiers().size();
  MOESIM_ASSERT(tiers <= static_cast<std::size_t>(kMaxTiers));
  splits_.resize(tiers);
  rates_.resize(tiers);
  ring_rates_.resize(tiers);
  sharers_.assign(tiers, 1);
  peers_.assign(tiers, 0);
  exchange_.assign(tiers, 0);
  port_rates_.resize(tiers);
  if (ranks_.empty()) {
    joined_.resize(tiers + 1);
    return;
  }
  find_groups_and_ports();
  find_splits();
  find_members();
  find_joined_parts();
  find_rates();
  find_peers();
  find_shape();
}

void GroupTopology::find_shape() {
  std::vector<std::int32_t> nodes;
  for (const RankId rank : ranks_) nodes.push_back(view_->node(rank).value());
  const Split split = split_of(std::move(nodes));
  shape_ = {.ranks = size(),
            .nodes = split.parts,
            .ranks_per_node = split.largest,
            .port_sharers = outermost_tier_ < 0 ? 1 : port_sharers(outermost_tier_)};
}

std::span<const std::int32_t> GroupTopology::groups_at(int tier) const {
  return std::span(groups_).subspan(static_cast<std::size_t>(tier) * ranks_.size(), ranks_.size());
}
std::span<const std::int32_t> GroupTopology::ports_at(int tier) const {
  return std::span(ports_).subspan(static_cast<std::size_t>(tier) * ranks_.size(), ranks_.size());
}

void GroupTopology::find_groups_and_ports() {
  for (const Tier& tier : view_->tiers()) {
    std::vector<std::int32_t> ports;
    for (const RankId rank : ranks_) {
      groups_.push_back(tier.group_of_rank[rank.index()]);
      ports.push_back(tier.port_of_rank[rank.index()]);
    }
    const std::vector<std::int32_t> labels = dense_labels(ports);
    ports_.insert(ports_.end(), labels.begin(), labels.end());
  }
}

void GroupTopology::find_splits() {
  for (int t = 0; t < tiers(); ++t) {
    const auto groups = groups_at(t);
    splits_[static_cast<std::size_t>(t)] = split_of({groups.begin(), groups.end()});
  }
}

std::span<const std::int32_t> GroupTopology::members(int tier, int i) const {
  const std::size_t cell = static_cast<std::size_t>(tier) * ranks_.size() + static_cast<std::size_t>(i);
  return std::span(members_).subspan(static_cast<std::size_t>(member_begin_[cell]),
                                     static_cast<std::size_t>(member_count_[cell]));
}

void GroupTopology::find_members() {
  const std::size_t n = ranks_.size();
  const std::size_t cells = n * static_cast<std::size_t>(tiers());
  members_.resize(cells);
  member_begin_.resize(cells);
  member_count_.resize(cells);
  for (int t = 0; t < tiers(); ++t) {
    const auto groups = groups_at(t);
    const std::size_t base = static_cast<std::size_t>(t) * n;
    const auto order = std::span(members_).subspan(base, n);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
      return groups[static_cast<std::size_t>(a)] < groups[static_cast<std::size_t>(b)];
    });
    for (std::size_t first = 0; first < n;) {
      std::size_t last = first;
      const std::int32_t group = groups[static_cast<std::size_t>(order[first])];
      while (last < n && groups[static_cast<std::size_t>(order[last])] == group) ++last;
      for (std::size_t at = first; at < last; ++at) {
        member_begin_[base + static_cast<std::size_t>(order[at])] = static_cast<std::int32_t>(base + first);
        member_count_[base + static_cast<std::size_t>(order[at])] = static_cast<std::int32_t>(last - first);
      }
      first = last;
    }
  }
}

void GroupTopology::find_joined_parts() {
  DisjointSets sets(ranks_.size());
  const auto snapshot = [&] {
    std::vector<std::int32_t> labels;
    for (int i = 0; i < size(); ++i) labels.push_back(sets.find(i));
    joined_.push_back(split_of(std::move(labels)));
  };
  snapshot();
  for (int t = 0; t < tiers(); ++t) {
    std::unordered_map<std::int32_t, std::int32_t> first_of_group;
    const auto groups = groups_at(t);
    for (int i = 0; i < size(); ++i)
      sets.join(i, first_of_group.emplace(groups[static_cast<std::size_t>(i)], i).first->second);
    snapshot();
  }
}

void GroupTopology::find_rates() {
  for (int t = 0; t < tiers(); ++t) {
    const auto index = static_cast<std::size_t>(t);
    const Tier& tier = view_->tier(t);
    const auto local = ports_at(t);
    std::vector<Port>& ports = port_rates_[index];
    double slowest = std::numeric_limits<double>::max();
    for (std::size_t i = 0; i < ranks_.size(); ++i) {
      const std::int32_t port = tier.port_of_rank[ranks_[i].index()];
      // A tier without ports of its own (ranks of one tier group that need no further link) never limits.
      const double out = port < 0 ? 1e30 : tier.ports[static_cast<std::size_t>(port)].out.value();
      const double in = port < 0 ? 1e30 : tier.ports[static_cast<std::size_t>(port)].in.value();
      const int sharers = port < 0 ? 1 : tier.ranks_on_port[static_cast<std::size_t>(port)];
      const auto dense = static_cast<std::size_t>(local[i]);
      if (ports.size() <= dense) ports.resize(dense + 1);
      ports[dense].out += BytesPerSecond(out / sharers);
      ports[dense].in += BytesPerSecond(in / sharers);
      slowest = std::min(slowest, std::min(out, in) / sharers);
      sharers_[index] = std::max(sharers_[index], sharers);
    }
    rates_[index] = BytesPerSecond(slowest);
    const int others = std::max(1, splits_[index].smallest - 1);
    ring_rates_[index] =
        tier.mesh ? BytesPerSecond(std::min(slowest, others * tier.pair_limit.value())) : rates_[index];
  }
}

// Ranks that meet at tier t are those of its group that no tier below holds together. Two cases are closed
// forms: the group holds all that was reachable before (a tree of tiers), or what was reachable is exactly
// one tier's group and overlaps with this one (rail leaves over nodes). Anything else is counted pair by
// pair.
std::vector<int> GroupTopology::peers_of_ranks() const {
  const std::size_t n = ranks_.size();
  std::vector<int> peers(n * static_cast<std::size_t>(tiers()), 0);
  std::vector<int> reachable(n, 1);  // itself
  int reachable_is_tier = -1;        // reachable == this tier's group; -1: itself alone, -2: neither
  for (int t = 0; t < tiers(); ++t) {
    const auto groups = groups_at(t);
    std::unordered_map<std::int32_t, int> group_size;
    for (const std::int32_t group : groups) ++group_size[group];
    int* const row = peers.data() + static_cast<std::size_t>(t) * n;
    const auto overlap_with = [&](int lower) {
      std::unordered_map<std::int64_t, int> pairs;
      const auto below = groups_at(lower);
      std::vector<std::int64_t> keys;
      for (std::size_t i = 0; i < n; ++i) {
        keys.push_back((static_cast<std::int64_t>(groups[i]) << 32) | static_cast<std::uint32_t>(below[i]));
        ++pairs[keys.back()];
      }
      std::vector<int> overlap;
      for (const std::int64_t key : keys) overlap.push_back(pairs[key]);
      return overlap;
    };
    if (reachable_is_tier == -2 && splits_[static_cast<std::size_t>(t)].parts > 1) {
      for (std::size_t i = 0; i < n; ++i) {
        for (std::size_t j = 0; j < n; ++j) row[i] += i != j && view_->meeting_tier(ranks_[i], ranks_[j]) == t ? 1 : 0;
        reachable[i] += row[i];
      }
      continue;
    }
    const std::vector<int> overlap = reachable_is_tier >= 0 ? overlap_with(reachable_is_tier) : reachable;
    bool contains_all = true;
    for (std::size_t i = 0; i < n; ++i) {
      row[i] = group_size[groups[i]] - overlap[i];
      contains_all = contains_all && overlap[i] == reachable[i];
      reachable[i] += row[i];
    }
    reachable_is_tier = contains_all ? t : -2;
  }
  return peers;
}

void GroupTopology::find_peers() {
  const std::vector<int> peers = peers_of_ranks();
  const std::size_t n = ranks_.size();
  for (int t = 0; t < tiers(); ++t) {
    const int* const row = peers.data() + static_cast<std::size_t>(t) * n;
    peers_[static_cast<std::size_t>(t)] = *std::max_element(row, row + n);
    if (peers_[static_cast<std::size_t>(t)] > 0) outermost_tier_ = t;
  }
  for (int p = 0; p < tiers(); ++p) {
    const auto index = static_cast<std::size_t>(p);
    std::vector<double> crossing(port_rates_[index].size(), 0);
    const auto ports = ports_at(p);
    for (int t = p; t < tiers(); ++t) {
      if (view_->tier(t).first_port_tier > p) continue;
      for (std::size_t i = 0; i < n; ++i)
        crossing[static_cast<std::size_t>(ports[i])] += peers[static_cast<std::size_t>(t) * n + i];
    }
    for (std::size_t port = 0; port < crossing.size(); ++port) {
      const Port& rate = port_rates_[index][port];
      exchange_[index] = std::max(exchange_[index], crossing[port] / std::min(rate.out, rate.in).value());
    }
    if (view_->tier(p).mesh && peers_[index] > 0)
      exchange_[index] = std::max(exchange_[index], 1 / view_->tier(p).pair_limit.value());
  }
}

}  // namespace moesim
