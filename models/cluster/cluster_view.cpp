#include "models/cluster/cluster_view.hpp"

#include <algorithm>
#include <utility>

#include "base/error.hpp"

namespace moesim {

const char* link_class_name(LinkClass link) {
  switch (link) {
    case LinkClass::kNvlink: return "nvlink";
    case LinkClass::kXgmi: return "xgmi";
    case LinkClass::kPcie: return "pcie";
    case LinkClass::kNic: return "nic";
    case LinkClass::kSwitch: return "switch";
    case LinkClass::kSocket: return "socket";
    case LinkClass::kOther: return "other";
  }
  return "?";
}

ClusterView::ClusterView(std::vector<DeviceSpec> devices, std::vector<std::int32_t> device_of_rank,
                         std::vector<double> speed_of_rank, std::vector<std::int32_t> node_of_rank,
                         std::vector<Tier> tiers)
    : devices_(std::move(devices)),
      device_of_rank_(std::move(device_of_rank)),
      speed_of_rank_(std::move(speed_of_rank)),
      node_of_rank_(std::move(node_of_rank)),
      tiers_(std::move(tiers)) {
  MOESIM_ASSERT(speed_of_rank_.size() == device_of_rank_.size() && node_of_rank_.size() == device_of_rank_.size());
  for (const Tier& tier : tiers_)
    MOESIM_ASSERT(tier.group_of_rank.size() == device_of_rank_.size() &&
                  tier.port_of_rank.size() == device_of_rank_.size());
  for (const std::int32_t node : node_of_rank_) nodes_ = std::max(nodes_, node + 1);
}

int ClusterView::ranks_per_node() const {
  if (node_of_rank_.empty()) return 0;
  return static_cast<int>(std::count(node_of_rank_.begin(), node_of_rank_.end(), node_of_rank_.front()));
}

int ClusterView::meeting_tier(RankId a, RankId b) const {
  if (a == b) return -1;
  for (std::size_t t = 0; t < tiers_.size(); ++t)
    if (tiers_[t].group_of_rank[a.index()] == tiers_[t].group_of_rank[b.index()]) return static_cast<int>(t);
  return -1;  // compile() refuses clusters with unreachable ranks
}

int ClusterView::domain_size(RankId rank) const {
  if (tiers_.empty()) return 1;
  const std::vector<std::int32_t>& group = tiers_.front().group_of_rank;
  return static_cast<int>(std::count(group.begin(), group.end(), group[rank.index()]));
}

}  // namespace moesim
