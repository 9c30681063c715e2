// Collectives: what is asked of the network, apart from what it costs.
//
// Sizes follow nccl-tests: the whole buffer of one rank. all_gather: the gathered size; reduce_scatter: the input size;
// all_reduce: the buffer; all_to_all: the sum over peers, the own share included; broadcast and send_recv: the message.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/ids.hpp"
#include "base/units.hpp"
#include "models/cluster/cluster_view.hpp"

namespace moesim {

enum class CollectiveKind : std::uint8_t { kAllReduce, kAllGather, kReduceScatter, kAllToAll, kBroadcast, kSendRecv };
inline constexpr int kCollectiveKinds = 6;
[[nodiscard]] std::string_view collective_name(CollectiveKind kind);

enum class CollectiveAlgorithm : std::uint8_t {
  kAuto,  // the cheapest of ring, tree, switch and pairwise that applies, as NCCL's tuner would choose
  kRing,
  kTree,          // all-reduce and broadcast only
  kSwitch,        // reduction in the switch (NVLink SHARP), where the hardware has it
  kHierarchical,  // inside the domain first, then across; only where asked for: NCCL has no such algorithm
  kPairwise,      // all-to-all: one grouped exchange with every peer
  kNetwork,  // reduction in the network's switches (SHARP), where the cluster says that they have it; where asked for
};
inline constexpr int kCollectiveAlgorithms = 7;
[[nodiscard]] std::string_view algorithm_name(CollectiveAlgorithm algorithm);

// How a group lies on hosts; groups that lie alike take the same time.
struct GroupShape {
  int ranks = 1;
  int nodes = 1;
  int ranks_per_node = 1;  // on the node that has the most
  int port_sharers = 1;    // ranks of the cluster that share a port of the outermost tier the group needs
  bool operator==(const GroupShape&) const = default;
};

// How a group of ranks lies on the tiers, worked out once per group and reused for every size.
// O(ranks of the group * log) to build; CostModel::topology() remembers them.
class GroupTopology {
 public:
  // `view` must outlive the topology; `ranks` are distinct.
  GroupTopology(const ClusterView& view, std::span<const RankId> ranks);

  [[nodiscard]] const ClusterView& view() const { return *view_; }
  [[nodiscard]] std::span<const RankId> ranks() const { return ranks_; }
  [[nodiscard]] int size() const { return static_cast<int>(ranks_.size()); }
  [[nodiscard]] const GroupShape& shape() const { return shape_; }
  [[nodiscard]] int tiers() const { return static_cast<int>(splits_.size()); }
  // The outermost tier that any pair of the group needs; -1 for a single rank.
  [[nodiscard]] int outermost_tier() const { return outermost_tier_; }
  // Into how many parts the tier's groups cut this one, and the smallest and largest part.
  struct Split {
    int parts = 1;
    int smallest = 0;
    int largest = 0;
  };
  [[nodiscard]] const Split& split(int tier) const { return splits_[static_cast<std::size_t>(tier)]; }
  // The parts that the tiers below `tier` join, one through another (0: every rank alone). A ring crosses `tier` between
  // these; with rail leaves they differ from split(), whose groups need not contain each other.
  [[nodiscard]] const Split& joined_below(int tier) const { return joined_[static_cast<std::size_t>(tier)]; }
  // The share of a tier's port that one rank of the group can count on when all ranks of the cluster are busy with the
  // same operation (SPMD programs run every sibling group at once): the slowest rank's, per direction.
  [[nodiscard]] BytesPerSecond rank_rate(int tier) const { return rates_[static_cast<std::size_t>(tier)]; }
  // How many ranks of the cluster share one port of that tier, at the busiest port of the group.
  [[nodiscard]] int port_sharers(int tier) const { return sharers_[static_cast<std::size_t>(tier)]; }
  // What a ring can use of rank_rate(): on a mesh, the links to the other members.
  [[nodiscard]] BytesPerSecond ring_rate(int tier) const { return ring_rates_[static_cast<std::size_t>(tier)]; }
  // The most peers any rank has whom it meets at `tier`.
  [[nodiscard]] int peers(int tier) const { return peers_[static_cast<std::size_t>(tier)]; }
  // Seconds that the busiest port of `tier` needs per byte that every rank sends to every other.
  [[nodiscard]] double exchange_seconds_per_byte(int tier) const { return exchange_[static_cast<std::size_t>(tier)]; }

  // Row by row views for the byte-matrix law: the tier's group and dense port number of the i-th rank of this group,
  // and what this group can count on of each dense port.
  [[nodiscard]] std::span<const std::int32_t> groups_at(int tier) const;
  [[nodiscard]] std::span<const std::int32_t> ports_at(int tier) const;
  // Numbers within this group of the ranks that share the tier's group with the i-th one, itself included.
  [[nodiscard]] std::span<const std::int32_t> members(int tier, int i) const;
  [[nodiscard]] std::span<const Port> port_rates(int tier) const { return port_rates_[static_cast<std::size_t>(tier)]; }

 private:
  void find_groups_and_ports();
  void find_splits();
  void find_members();
  void find_joined_parts();
  void find_rates();
  void find_peers();
  void find_shape();
  [[nodiscard]] std::vector<int> peers_of_ranks() const;  // [tier * size + i]

  const ClusterView* view_;
  std::vector<RankId> ranks_;
  std::vector<Split> splits_;
  std::vector<Split> joined_;  // one more than tiers
  std::vector<BytesPerSecond> rates_;
  std::vector<BytesPerSecond> ring_rates_;
  std::vector<int> sharers_;
  std::vector<int> peers_;
  std::vector<double> exchange_;
  std::vector<std::int32_t> groups_;        // [tier * size + i]
  std::vector<std::int32_t> ports_;         // [tier * size + i]
  std::vector<std::int32_t> members_;       // [tier * size + ...], sorted by the tier's group
  std::vector<std::int32_t> member_begin_;  // [tier * size + i], where the i-th rank's group starts
  std::vector<std::int32_t> member_count_;
  std::vector<std::vector<Port>> port_rates_;
  int outermost_tier_ = -1;
  GroupShape shape_;
};

}  // namespace moesim
