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
[[nodiscard]] std::string_view collective_name(CollectiveKind kind);

enum class CollectiveAlgorithm : std::uint8_t {
  kAuto,    // the cheapest of those that apply, as NCCL's tuner would choose
  kRing,
  kTree,    // all-reduce and broadcast only
  kSwitch,  // reduction in the switch (NVLink SHARP), where the hardware has it
  kHierarchical,  // inside the domain first, then across
  kPairwise,      // all-to-all: one grouped exchange with every peer
};

// How a group of ranks lies on the tiers, worked out once per group and reused for every size.
class GroupTopology {
 public:
  GroupTopology(const ClusterView& view, std::span<const RankId> ranks);

  [[nodiscard]] const ClusterView& view() const { return *view_; }
  [[nodiscard]] std::span<const RankId> ranks() const { return ranks_; }
  [[nodiscard]] int size() const { return static_cast<int>(ranks_.size()); }
  // The outermost tier that any pair of the group needs; -1 for a single rank.
  [[nodiscard]] int outermost_tier() const { return outermost_tier_; }
  // Into how many parts the tier's groups cut this one, and the smallest and largest part.
  struct Split {
    int parts = 1;
    int smallest = 0;
    int largest = 0;
  };
  [[nodiscard]] const Split& split(int tier) const { return splits_[static_cast<std::size_t>(tier)]; }
  // The share of a tier's port that one rank of the group can count on when all ranks of the cluster are busy with the
  // same operation (SPMD programs run every sibling group at once): the slowest rank's, per direction.
  [[nodiscard]] BytesPerSecond rank_rate(int tier) const { return rates_[static_cast<std::size_t>(tier)]; }

 private:
  const ClusterView* view_;
  std::vector<RankId> ranks_;
  std::vector<Split> splits_;
  std::vector<BytesPerSecond> rates_;
  int outermost_tier_ = -1;
};

}  // namespace moesim
