// The links of a cluster as a graph, one vertex per device, NIC, bridge and switch.
//
// Edges point away from the devices: device -> PCIe switch -> host, device -> NIC -> leaf -> spine. One edge is one
// full-duplex link with a capacity per direction (`rate.out` away from the devices, `rate.in` towards them). A direct
// mesh is one vertex of kind kMesh whose `pair_rate` bounds what one pair reaches.
//
// 2 nodes of 8 H100 on two rail leaves each: 16 devices + 2 NVSwitch + 16 NICs + 8 leaves + 1 spine = 43 vertices,
// 16 + 16 + 16 + 8 = 56 edges.
//
// Errors: two uplinks that lead back to where they began, a link to a name nobody has, a link of zero capacity.
#pragma once

#include <boost/graph/adjacency_list.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "models/cluster/cluster_spec.hpp"

namespace moesim {

struct TopologyVertex {
  bool is_device = false;
  SwitchKind kind = SwitchKind::kNetwork;
  bool meets = false;        // two ranks below may exchange here; false for devices and NICs
  std::string name;          // "leaf3", for messages
  std::string tier_name;     // name of the tier that meets here
  Seconds latency;           // through this vertex
  BytesPerSecond pair_rate;  // kMesh
  bool reduces = false;      // adds up what passes it
  std::int32_t nic = -1;     // devices: the NIC vertex they use; -1: any that they reach
};

struct TopologyEdge {
  LinkClass link = LinkClass::kOther;
  LinkRate rate{};
  Seconds latency{};
  std::int32_t provenance = 0;  // index into Topology::provenances
  std::int32_t id = 0;          // 0 .. edges-1
};

using TopologyGraph = boost::adjacency_list<boost::vecS, boost::vecS, boost::directedS, TopologyVertex, TopologyEdge>;

struct Topology {
  // On the heap because Boost's adjacency_list copies where others move.
  std::unique_ptr<TopologyGraph> graph = std::make_unique<TopologyGraph>();
  std::int32_t links = 0;  // counted here, since Boost would walk all vertices to count them
  std::vector<std::int32_t> vertex_of_rank;
  std::vector<DeviceSpec> devices;
  std::vector<std::int32_t> device_of_rank;
  std::vector<std::int32_t> node_of_rank;
  std::vector<double> speed_of_rank;
  std::vector<Provenance> provenances;
};

// Builds the graph of either form and checks it.
[[nodiscard]] Result<Topology> build_topology(const ClusterSpec& spec);

// A cycle in words ("leaf0 -> spine0 -> leaf0") as an error, or success.
[[nodiscard]] Status check_acyclic(const TopologyGraph& graph, const std::string& where);

namespace detail {
[[nodiscard]] Result<Topology> build_from_groups(const ClusterSpec& spec);
[[nodiscard]] Result<Topology> build_from_switches(const ClusterSpec& spec);

std::int32_t add_vertex(Topology& topology, TopologyVertex vertex);
void add_link(Topology& topology, std::int32_t from, std::int32_t to, TopologyEdge edge);
}  // namespace detail

}  // namespace moesim
