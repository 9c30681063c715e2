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
  for (Tier& tier : tiers_) {
    tier.ranks_on_port.assign(tier.ports.size(), 0);
    for (const std::int32_t port : tier.port_of_rank)
      if (port >= 0) ++tier.ranks_on_port[static_cast<std::size_t>(port)];
  }
  period_ = ranks();
  for (int shift = 1; shift < ranks() && period_ == ranks(); ++shift)
    if (ranks() % shift == 0 && looks_the_same_after(static_cast<std::size_t>(shift))) period_ = shift;
}

namespace {

// Whether the labels of all ranks and of those `shift` further on correspond one to one.
bool labels_correspond(const std::vector<std::int32_t>& labels, std::size_t shift) {
  const std::size_t size = static_cast<std::size_t>(*std::max_element(labels.begin(), labels.end())) + 2;
  std::vector<std::int32_t> to(size, -2);
  std::vector<std::int32_t> from(size, -2);
  for (std::size_t r = 0; r < labels.size(); ++r) {
    const std::int32_t here = labels[r];
    const std::int32_t there = labels[(r + shift) % labels.size()];
    std::int32_t& known_to = to[static_cast<std::size_t>(here + 1)];
    std::int32_t& known_from = from[static_cast<std::size_t>(there + 1)];
    if (known_to == -2) known_to = there;
    if (known_from == -2) known_from = here;
    if (known_to != there || known_from != here) return false;
  }
  return true;
}

}  // namespace

bool ClusterView::looks_the_same_after(std::size_t shift) const {
  const std::size_t n = device_of_rank_.size();
  for (std::size_t r = 0; r < n; ++r)
    if (device_of_rank_[r] != device_of_rank_[(r + shift) % n]) return false;
  if (!labels_correspond(node_of_rank_, shift)) return false;
  for (const Tier& tier : tiers_) {
    if (!labels_correspond(tier.group_of_rank, shift) || !labels_correspond(tier.port_of_rank, shift)) return false;
    for (std::size_t r = 0; r < n; ++r) {
      const std::int32_t here = tier.port_of_rank[r];
      const std::int32_t there = tier.port_of_rank[(r + shift) % n];
      if ((here < 0) != (there < 0)) return false;
      if (here < 0) continue;
      const Port& a = tier.ports[static_cast<std::size_t>(here)];
      const Port& b = tier.ports[static_cast<std::size_t>(there)];
      if (a.out != b.out || a.in != b.in) return false;
    }
  }
  return true;
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
