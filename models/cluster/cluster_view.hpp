// What the cost laws and the engine see of a cluster: ranks, tiers and ports, compiled once from the topology graph.
//
// A *tier* is a level at which two ranks can meet. Tier 0 is the innermost (an NVLink domain, or a PCIe switch). Two
// ranks talk over the first tier whose group holds both. Traffic that meets at tier t uses one *port* of the sender and
// one of the receiver at every tier from `tier(t).first_port_tier` up to t; a port is full duplex, its capacity
// counts per direction, and it may be shared by several ranks (one NIC for two GPUs, the uplinks of a leaf switch).
//
// Example, 2 nodes x 8 H100, one NIC per GPU, two-level fat tree:
//   tier 0 "nvlink"  groups = nodes,        16 ports of 450 GB/s, first_port_tier 0
//   tier 1 "nic"     groups = rail leaves,  16 ports of 50 GB/s,  first_port_tier 1
//   tier 2 "spine"   groups = everything,   8 leaf uplinks,       first_port_tier 1 (the NIC is crossed as well)
//
// Levels at which no pair meets for the first time (the PCIe switches below an NVSwitch, the spine of a single leaf)
// are no tiers, unless their ports narrow the way to a tier further out. Where a rank has no link of its own at a tier (mixed nodes), its port there has infinite capacity.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/ids.hpp"
#include "base/units.hpp"
#include "models/cluster/device.hpp"

namespace moesim {

enum class LinkClass : std::uint8_t { kNvlink, kXgmi, kPcie, kNic, kSwitch, kSocket, kOther };
[[nodiscard]] const char* link_class_name(LinkClass link);

struct Port {
  BytesPerSecond out;  // capacity towards the tier
  BytesPerSecond in;
};

struct Tier {
  std::string name;
  LinkClass link = LinkClass::kOther;
  Seconds latency;  // one way between two ranks that meet here, hardware only (software is the laws' alpha)
  int first_port_tier = 0;
  bool reduces = false;  // all switches at which ranks meet here add up what passes them (SHARP)
  bool mesh = false;     // point-to-point links only: one pair reaches at most `pair_limit`
  // Largest rate of one pair: the narrowest link between the two, which for a switch is the narrowest port crossed.
  BytesPerSecond pair_limit;
  std::vector<std::int32_t> group_of_rank;
  std::vector<std::int32_t> port_of_rank;
  std::vector<Port> ports;
  std::vector<int> ranks_on_port;  // filled by ClusterView
  Provenance provenance;
};

class ClusterView {
 public:
  ClusterView(std::vector<DeviceSpec> devices, std::vector<std::int32_t> device_of_rank,
              std::vector<double> speed_of_rank, std::vector<std::int32_t> node_of_rank, std::vector<Tier> tiers);

  [[nodiscard]] int ranks() const { return static_cast<int>(device_of_rank_.size()); }
  [[nodiscard]] int nodes() const { return nodes_; }
  [[nodiscard]] int ranks_per_node() const;  // of the first node
  [[nodiscard]] std::span<const Tier> tiers() const { return tiers_; }
  [[nodiscard]] const Tier& tier(int index) const { return tiers_[static_cast<std::size_t>(index)]; }

  // The tier at which two different ranks meet; -1 for a rank with itself.
  [[nodiscard]] int meeting_tier(RankId a, RankId b) const;

  [[nodiscard]] const DeviceSpec& device(RankId rank) const { return devices_[device_of_rank_[rank.index()]]; }
  [[nodiscard]] std::span<const DeviceSpec> devices() const { return devices_; }
  [[nodiscard]] std::int32_t device_index(RankId rank) const { return device_of_rank_[rank.index()]; }
  // 1 for a healthy rank, 0.8 for a straggler whose kernels take 1/0.8 times as long.
  [[nodiscard]] double speed(RankId rank) const { return speed_of_rank_[rank.index()]; }
  [[nodiscard]] NodeId node(RankId rank) const { return NodeId(node_of_rank_[rank.index()]); }

  // The least P such that the cluster looks from every rank r + P as it does from r, counted in a circle: the same devices,
  // and groups and ports that correspond. 8 for nodes of a DGX behind one switch; ranks() where nothing repeats.
  [[nodiscard]] int period() const { return period_; }

  // How many ranks the innermost domain of `rank` holds (8 for a DGX, 72 for an NVL72 rack); 1 for a single rank,
  // whose cluster has no tiers at all.
  [[nodiscard]] int domain_size(RankId rank) const;

 private:
  [[nodiscard]] bool looks_the_same_after(std::size_t shift) const;

  std::vector<DeviceSpec> devices_;
  std::vector<std::int32_t> device_of_rank_;
  std::vector<double> speed_of_rank_;
  std::vector<std::int32_t> node_of_rank_;
  std::vector<Tier> tiers_;
  int nodes_ = 0;
  int period_ = 0;
};

}  // namespace moesim
