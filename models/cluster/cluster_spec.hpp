// A cluster as the user describes it (docs/inputs-cluster.md), before topology.hpp turns it into a graph.
//
// Either node groups (N nodes alike: devices, scale-up domain, PCIe tree, NICs) below a stack of network levels, or an
// explicit tree of named switches. Rates count per direction; a latency is one way, hardware only.
//
// Example, 2 nodes of 8 H100 with one 400 Gbit/s NIC per GPU: one group of 2 nodes, scale_up {kSwitched, 450 GB/s},
// nics {8 x 50 GB/s}, network {leaf of 32 nodes with rails, spine over everything}.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/units.hpp"
#include "models/cluster/cluster_view.hpp"
#include "models/cluster/device.hpp"
#include "models/provenance.hpp"

namespace moesim {

struct LinkRate {
  BytesPerSecond out;  // away from the device
  BytesPerSecond in;
};

enum class ScaleUpKind : std::uint8_t {
  kSwitched,  // a switch: any pair reaches the port's rate
  kMesh,      // a direct link per pair: one pair reaches `pair_rate` only
};

struct ScaleUpSpec {
  ScaleUpKind kind = ScaleUpKind::kSwitched;
  LinkClass link = LinkClass::kNvlink;
  LinkRate rate;             // all links of one device together
  BytesPerSecond pair_rate;  // mesh: the link between two devices
  Seconds latency;           // between two devices of the domain
  int domain_devices = 0;    // devices of a node that form one domain; 0: all
  int domain_nodes = 1;      // nodes that share one domain (NVL72 in nodes of 4: 18)
  Provenance provenance;
};

enum class PeerAccess : std::uint8_t {
  kDirect,       // devices under one PCIe switch exchange without the host
  kThroughHost,  // consumer cards: every copy crosses the host
};

struct PcieSpec {
  LinkRate rate;               // of one device
  Seconds latency;             // of one PCIe hop
  int devices_per_switch = 0;  // 0: devices hang off the host bridge
  LinkRate uplink;             // switch to host bridge
  int sockets = 1;
  LinkRate socket_rate;  // one socket to the others, when sockets > 1
  Seconds socket_latency;
  PeerAccess peer = PeerAccess::kDirect;
  Provenance provenance;
};

enum class NicPlace : std::uint8_t {
  kSwitch,  // beside the device's PCIe switch (GPUDirect)
  kHost,    // behind the host bridge
};

struct NicSpec {
  int count = 1;    // per node
  LinkRate rate;    // of one NIC
  Seconds latency;  // through one NIC
  NicPlace place = NicPlace::kSwitch;
  Provenance provenance;
};

struct NodeSpec {
  DeviceSpec device;
  int devices = 1;
  std::optional<ScaleUpSpec> scale_up;
  std::optional<PcieSpec> pcie;
  std::optional<NicSpec> nics;
};

struct NodeGroup {
  int nodes = 0;
  NodeSpec node;
};

enum class SwitchSharing : std::uint8_t {
  kAllNics,  // one switch takes every NIC of its nodes
  kPerRail,  // one switch per NIC index: NICs of equal index meet
};

struct NetworkLevel {
  std::string name;  // "leaf"
  int nodes = 0;     // that one switch spans; 0: all
  SwitchSharing sharing = SwitchSharing::kAllNics;
  Seconds latency;  // through one switch
  // The links from the level below into one switch here: given, or their total below / oversubscription. A full
  // switch counts, so that a partly filled leaf keeps its uplinks.
  double oversubscription = 1;
  std::optional<LinkRate> uplink;
  bool reduces = false;  // its switches add up what passes them (SHARP)
  Provenance provenance;
};

struct SpeedRule {
  std::int64_t first_rank = 0;
  std::int64_t last_rank = 0;
  double speed = 1;
};

enum class SwitchKind : std::uint8_t { kScaleUp, kMesh, kPcie, kHost, kSystem, kNic, kNetwork };
[[nodiscard]] const char* switch_kind_name(SwitchKind kind);

struct ExplicitLink {
  std::string to;
  LinkRate rate;
  Seconds latency;
};

struct ExplicitSwitch {
  std::string name;
  SwitchKind kind = SwitchKind::kNetwork;
  LinkClass scale_up_link = LinkClass::kNvlink;
  Seconds latency;
  BytesPerSecond pair_rate;  // mesh only
  bool reduces = false;      // adds up what passes it (SHARP)
  std::vector<ExplicitLink> uplinks;
};

struct ExplicitDevice {
  std::string name;
  std::int32_t device = 0;  // index into ExplicitTopology::devices
  std::int32_t node = 0;
  double speed = 1;
  std::vector<ExplicitLink> links;
  std::string nic;  // the NIC it uses where several can be reached; empty: any
};

struct ExplicitTopology {
  std::vector<DeviceSpec> devices;
  std::vector<ExplicitSwitch> switches;
  std::vector<ExplicitDevice> ranks;
  Provenance provenance;
};

struct ClusterSpec {
  std::string name;
  std::string source;  // the file or preset, for messages
  std::string note;
  std::vector<NodeGroup> groups;  // empty when `topology` is given
  std::vector<NetworkLevel> network;
  std::vector<SpeedRule> slow;
  std::optional<ExplicitTopology> topology;

  [[nodiscard]] std::int64_t nodes() const;
  [[nodiscard]] std::int64_t ranks() const;
};

constexpr std::int64_t kMaxNodes = 100'000;
constexpr std::int64_t kMaxRanks = 1 << 20;

}  // namespace moesim
