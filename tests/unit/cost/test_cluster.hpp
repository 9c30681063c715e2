// Small clusters with round figures, built by hand so that expected times can be worked out on paper.
#pragma once

#include <vector>

#include "models/cluster/cluster_view.hpp"
#include "models/cost/law_parameters.hpp"

namespace moesim {

inline DeviceSpec round_device() {
  DeviceSpec device;
  device.name = "round";
  device.arch = DeviceArch::kAmpere;
  device.memory = Bytes(80'000'000'000);
  device.memory_bandwidth = BytesPerSecond(1e12);
  device.l2_cache = Bytes(40'000'000);
  device.compute_units = 100;
  device.boost_clock = Hertz(1e9);
  device.set_peak(DType::kBf16, FlopsPerSecond(100e12));
  device.set_peak(DType::kFp32, FlopsPerSecond(10e12));
  return device;
}

// `nodes` of `per_node` ranks: 100 GB/s inside, one NIC of 10 GB/s for `ranks_per_nic` ranks, no hardware
// latency.
inline ClusterView two_tier_view(int nodes, int per_node, int ranks_per_nic = 1, bool mesh = false) {
  const int ranks = nodes * per_node;
  Tier inside{.name = "nvlink",
              .link = LinkClass::kNvlink,
              .latency = Seconds(0),
              .first_port_tier = 0,
              .mesh = mesh,
              .pair_limit = BytesPerSecond(mesh ? 100e9 / (per_node - 1) : 100e9),
              .group_of_rank = {},
              .port_of_rank = {},
              .ports = {},
              .ranks_on_port = {},
              .provenance = {}};
  Tier nic{.name = "nic",
           .link = LinkClass::kNic,
           .latency = Seconds(0),
           .first_port_tier = 1,
           .mesh = false,
           .pair_limit = BytesPerSecond(10e9),
           .group_of_rank = {},
           .port_of_rank = {},
           .ports = {},
           .ranks_on_port = {},
           .provenance = {}};
  std::vector<std::int32_t> node_of_rank;
  for (int rank = 0; rank < ranks; ++rank) {
    node_of_rank.push_back(rank / per_node);
    inside.group_of_rank.push_back(rank / per_node);
    inside.port_of_rank.push_back(rank);
    inside.ports.push_back({BytesPerSecond(100e9), BytesPerSecond(100e9)});
    nic.group_of_rank.push_back(0);
    nic.port_of_rank.push_back(rank / ranks_per_nic);
    if (rank % ranks_per_nic == 0) nic.ports.push_back({BytesPerSecond(10e9), BytesPerSecond(10e9)});
  }
  return {{round_device()},
          std::vector<std::int32_t>(static_cast<std::size_t>(ranks), 0),
          std::vector<double>(static_cast<std::size_t>(ranks), 1.0),
          node_of_rank,
          {inside, nic}};
}

// Rails: ranks of equal index in their node meet on a NIC leaf, all others across the spine.
inline ClusterView rail_view(int nodes, int per_node) {
  const ClusterView plain = two_tier_view(nodes, per_node);
  std::vector<Tier> tiers(plain.tiers().begin(), plain.tiers().end());
  Tier spine = tiers[1];
  spine.name = "spine";
  spine.link = LinkClass::kSwitch;
  std::vector<std::int32_t> nodes_of;
  for (int rank = 0; rank < nodes * per_node; ++rank) {
    nodes_of.push_back(rank / per_node);
    tiers[1].group_of_rank[static_cast<std::size_t>(rank)] = rank % per_node;
  }
  tiers.push_back(spine);
  return {{round_device()},
          std::vector<std::int32_t>(nodes_of.size(), 0),
          std::vector<double>(nodes_of.size(), 1.0),
          nodes_of,
          tiers};
}

inline std::vector<RankId> rank_list(int count, int stride = 1) {
  std::vector<RankId> ranks;
  for (int i = 0; i < count; ++i) ranks.emplace_back(i * stride);
  return ranks;
}

// Efficiency 1 everywhere; 1 us inside, 10 us across; nothing pipelined away.
inline LawParameters round_parameters() {
  LawParameters parameters;
  parameters.device = "round";
  for (LinkParameters& link : parameters.links)
    link = {.ring_efficiency = 1,
            .tree_efficiency = 1,
            .all_to_all_efficiency = 1,
            .one_way_efficiency = 1,
            .switch_efficiency = 0.5,
            .ring_step = Seconds(1e-6),
            .tree_step = Seconds(1e-6),
            .peer_step = Seconds(1e-6),
            .pipeline_step = Seconds(0),
            .quick_share = 0.5,
            .long_step = Seconds(0)};
  LinkParameters& nic = parameters.link(LinkClass::kNic);
  nic.ring_step = nic.tree_step = nic.peer_step = Seconds(10e-6);
  parameters.collective.base = Seconds(0);
  parameters.collective.switch_base = Seconds(0);
  return parameters;
}

}  // namespace moesim
