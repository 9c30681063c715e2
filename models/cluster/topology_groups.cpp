// The graph of the short form: groups of equal nodes below a stack of network levels.
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <utility>

#include "models/cluster/topology.hpp"

namespace moesim::detail {
namespace {

constexpr BytesPerSecond kNotALimit{std::numeric_limits<double>::infinity()};

LinkRate times(LinkRate rate, double factor) { return {rate.out * factor, rate.in * factor}; }
LinkRate plus(LinkRate a, LinkRate b) { return {a.out + b.out, a.in + b.in}; }

// One NIC as the network sees it: its vertex, its node, its rail and what it carries.
struct NetworkEntry {
  std::int32_t vertex = 0;
  std::int32_t node = 0;
  std::int32_t rail = 0;
  LinkRate rate;
  std::int32_t provenance = 0;
};

class GroupTopologyBuilder {
 public:
  explicit GroupTopologyBuilder(const ClusterSpec& spec) : spec_(spec) {}

  Result<Topology> build() {
    for (const NodeGroup& group : spec_.groups) {
      begin_group(group);
      for (int n = 0; n < group.nodes; ++n) add_node(group.node, n);
    }
    MOESIM_TRY(check_network());
    for (std::size_t level = 0; level < spec_.network.size(); ++level) add_level(level);
    return std::move(topology_);
  }

 private:
  std::int32_t remember(const Provenance& provenance) {
    topology_.provenances.push_back(provenance);
    return static_cast<std::int32_t>(topology_.provenances.size()) - 1;
  }

  void begin_group(const NodeGroup& group) {
    topology_.devices.push_back(group.node.device);
    device_ = static_cast<std::int32_t>(topology_.devices.size()) - 1;
    domains_.clear();
    if (group.node.scale_up) scale_up_source_ = remember(group.node.scale_up->provenance);
    if (group.node.pcie) pcie_source_ = remember(group.node.pcie->provenance);
    if (group.node.nics) nic_source_ = remember(group.node.nics->provenance);
  }

  void add_node(const NodeSpec& node, int index_in_group) {
    const std::int32_t number = nodes_++;
    const std::int32_t first = add_devices(node, number);
    if (node.scale_up) join_scale_up(*node.scale_up, node, index_in_group, first);
    hosts_.assign(1, -1);
    switch_of_device_.assign(static_cast<std::size_t>(node.devices), -1);
    system_ = -1;
    if (node.pcie) add_pcie(*node.pcie, node, number, first);
    if (node.nics) add_nics(*node.nics, node, number, first);
  }

  std::int32_t add_devices(const NodeSpec& node, std::int32_t number) {
    std::int32_t first = -1;
    for (int d = 0; d < node.devices; ++d) {
      TopologyVertex vertex;
      vertex.is_device = true;
      vertex.name = fmt::format("node{}/gpu{}", number, d);
      const std::int32_t at = add_vertex(topology_, std::move(vertex));
      if (first < 0) first = at;
      topology_.vertex_of_rank.push_back(at);
      topology_.device_of_rank.push_back(device_);
      topology_.node_of_rank.push_back(number);
      topology_.speed_of_rank.push_back(1);
    }
    return first;
  }

  void join_scale_up(const ScaleUpSpec& scale_up, const NodeSpec& node, int index_in_group, std::int32_t first) {
    const int size = scale_up.domain_devices > 0 ? scale_up.domain_devices : node.devices;
    const int per_node = (node.devices + size - 1) / size;
    for (int d = 0; d < node.devices; ++d) {
      const auto domain = static_cast<std::size_t>(index_in_group / scale_up.domain_nodes * per_node + d / size);
      if (domain >= domains_.size()) {
        TopologyVertex vertex;
        vertex.kind = scale_up.kind == ScaleUpKind::kMesh ? SwitchKind::kMesh : SwitchKind::kScaleUp;
        vertex.meets = true;
        vertex.name = fmt::format("{}{}", link_class_name(scale_up.link), scale_up_domains_++);
        vertex.tier_name = link_class_name(scale_up.link);
        vertex.latency = scale_up.latency;
        vertex.pair_rate = scale_up.pair_rate;
        domains_.push_back(add_vertex(topology_, std::move(vertex)));
      }
      add_link(topology_, first + d, domains_[domain],
               {.link = scale_up.link, .rate = scale_up.rate, .provenance = scale_up_source_});
    }
  }

  std::int32_t add_host_side(SwitchKind kind, std::string name, bool meets) {
    TopologyVertex vertex;
    vertex.kind = kind;
    vertex.meets = meets;
    vertex.name = std::move(name);
    vertex.tier_name = kind == SwitchKind::kSystem ? "socket" : switch_kind_name(kind);
    return add_vertex(topology_, std::move(vertex));
  }

  void add_pcie(const PcieSpec& pcie, const NodeSpec& node, std::int32_t number, std::int32_t first) {
    hosts_.clear();
    for (int s = 0; s < pcie.sockets; ++s)
      hosts_.push_back(add_host_side(SwitchKind::kHost, fmt::format("node{}/host{}", number, s), true));
    if (pcie.sockets > 1) {
      system_ = add_host_side(SwitchKind::kSystem, fmt::format("node{}/system", number), true);
      for (const std::int32_t host : hosts_)
        add_link(topology_, host, system_,
                 {.link = LinkClass::kSocket,
                  .rate = pcie.socket_rate,
                  .latency = pcie.socket_latency,
                  .provenance = pcie_source_});
    }
    std::int32_t bridge = -1;
    for (int d = 0; d < node.devices; ++d) {
      const std::int32_t host = hosts_[socket_of(d, node)];
      if (pcie.devices_per_switch > 0 && d % pcie.devices_per_switch == 0) {
        bridge = add_host_side(SwitchKind::kPcie, fmt::format("node{}/pcie{}", number, d / pcie.devices_per_switch),
                               pcie.peer == PeerAccess::kDirect);
        add_link(topology_, bridge, host,
                 {.link = LinkClass::kPcie, .rate = pcie.uplink, .latency = pcie.latency, .provenance = pcie_source_});
      }
      const std::int32_t parent = pcie.devices_per_switch > 0 ? bridge : host;
      switch_of_device_[static_cast<std::size_t>(d)] = parent;
      add_link(topology_, first + d, parent,
               {.link = LinkClass::kPcie, .rate = pcie.rate, .latency = pcie.latency, .provenance = pcie_source_});
    }
  }

  static std::size_t socket_of(int device, const NodeSpec& node) {
    const int sockets = node.pcie ? node.pcie->sockets : 1;
    return static_cast<std::size_t>(static_cast<std::int64_t>(device) * sockets / node.devices);
  }

  // A NIC stands beside its first device. Devices elsewhere in the node reach it through the host, and from another
  // socket through the system. More NICs than devices: each device drives its share of them as one.
  void add_nics(const NicSpec& nics, const NodeSpec& node, std::int32_t number, std::int32_t first) {
    const int bundles = std::min(nics.count, node.devices);
    const double per_bundle = static_cast<double>(nics.count) / bundles;
    std::int32_t nic = -1;
    int current = -1;
    int home = 0;
    std::vector<std::int32_t> linked;
    for (int d = 0; d < node.devices; ++d) {
      const int index = static_cast<int>(static_cast<std::int64_t>(d) * bundles / node.devices);
      if (index != current) {
        TopologyVertex vertex;
        vertex.kind = SwitchKind::kNic;
        vertex.name = fmt::format("node{}/nic{}", number, index);
        vertex.latency = nics.latency;
        nic = add_vertex(topology_, std::move(vertex));
        current = index;
        home = d;
        linked.clear();
        entries_.push_back({nic, number, index, times(nics.rate, per_bundle), nic_source_});
      }
      (*topology_.graph)[static_cast<std::size_t>(first + d)].nic = nic;
      const std::int32_t from = attachment(nics, node, first, d, home);
      if (std::find(linked.begin(), linked.end(), from) != linked.end()) continue;
      linked.push_back(from);
      const LinkRate slot = node.pcie ? times(node.pcie->rate, per_bundle) : LinkRate{kNotALimit, kNotALimit};
      add_link(topology_, from, nic,
               {.link = LinkClass::kPcie, .rate = slot, .provenance = node.pcie ? pcie_source_ : nic_source_});
    }
  }

  // The vertex from which device `d` enters a NIC that stands beside device `home`.
  [[nodiscard]] std::int32_t attachment(const NicSpec& nics, const NodeSpec& node, std::int32_t first, int d,
                                        int home) const {
    if (!node.pcie) return first + d;
    const std::int32_t own = switch_of_device_[static_cast<std::size_t>(d)];
    if (nics.place == NicPlace::kSwitch && own == switch_of_device_[static_cast<std::size_t>(home)]) return own;
    return socket_of(d, node) == socket_of(home, node) ? hosts_[socket_of(d, node)] : system_;
  }

  Status check_network() {
    if (spec_.network.empty()) {
      entries_.clear();
      return {};
    }
    if (entries_.empty())
      return invalid_input("the cluster has network levels but its nodes have no NICs", spec_.source,
                           "add nics to the node, or leave out the network");
    const NetworkLevel& top = spec_.network.back();
    if (top.nodes != 0 && top.nodes < nodes_)
      return invalid_input(
          fmt::format("network level '{}' spans {} nodes but the cluster has {}: the rest is unreachable", top.name,
                      top.nodes, nodes_),
          spec_.source, "add a level above it, or leave its 'nodes' out (all nodes)");
    return {};
  }

  // Joins what hangs below (NICs at first, then the switches of the level before) to the switches of this level.
  void add_level(std::size_t index) {
    const NetworkLevel& level = spec_.network[index];
    const int span = level.nodes > 0 ? level.nodes : nodes_;
    const std::int32_t source = index == 0 ? 0 : remember(level.provenance);
    std::map<std::pair<std::int32_t, std::int32_t>, std::size_t> known;  // (group of nodes, rail) -> above
    std::vector<NetworkEntry> above;
    std::vector<LinkRate> total;
    std::vector<int> below;
    for (const NetworkEntry& entry : entries_) {
      const std::int32_t rail = level.sharing == SwitchSharing::kPerRail ? entry.rail : 0;
      const auto [place, is_new] = known.emplace(std::pair(entry.node / span, rail), above.size());
      if (is_new) {
        TopologyVertex vertex;
        vertex.meets = true;
        vertex.name = fmt::format("{}{}", level.name, above.size());
        vertex.tier_name = level.name;
        vertex.latency = level.latency;
        vertex.reduces = level.reduces;
        above.push_back({add_vertex(topology_, std::move(vertex)), entry.node / span * span, rail, {}, source});
        total.emplace_back();
        below.push_back(0);
      }
      const std::size_t at = place->second;
      total[at] = plus(total[at], entry.rate);
      ++below[at];
      add_link(topology_, entry.vertex, above[at].vertex,
               {.link = index == 0 ? LinkClass::kNic : LinkClass::kSwitch,
                .rate = entry.rate,
                .provenance = index == 0 ? entry.provenance : source});
    }
    if (index + 1 < spec_.network.size())
      for (std::size_t at = 0; at < above.size(); ++at) above[at].rate = uplink_of(index, total[at], below[at]);
    entries_ = std::move(above);
  }

  // What one switch of level `index` has towards the level above it, were all its ports taken.
  [[nodiscard]] LinkRate uplink_of(std::size_t index, LinkRate total, int below) const {
    const NetworkLevel& level = spec_.network[index];
    const NetworkLevel& above = spec_.network[index + 1];
    if (above.uplink) return *above.uplink;
    double full = below;
    if (level.nodes > 0 && spec_.groups.size() == 1) {
      const NicSpec& nics = *spec_.groups[0].node.nics;
      const int rails = std::min(nics.count, spec_.groups[0].node.devices);
      full = level.sharing == SwitchSharing::kPerRail ? 1 : rails;
      if (index == 0)
        full *= level.nodes;
      else if (spec_.network[index - 1].nodes > 0)
        full = static_cast<double>(level.nodes) / spec_.network[index - 1].nodes *
               (spec_.network[index - 1].sharing == SwitchSharing::kPerRail ? full : 1);
    }
    return times(total, std::max(1.0, full / below) / above.oversubscription);
  }

  const ClusterSpec& spec_;
  Topology topology_;
  std::int32_t nodes_ = 0;
  std::int32_t device_ = 0;
  std::int32_t scale_up_domains_ = 0;
  std::int32_t scale_up_source_ = 0;
  std::int32_t pcie_source_ = 0;
  std::int32_t nic_source_ = 0;
  std::vector<std::int32_t> domains_;           // of the current group
  std::vector<std::int32_t> hosts_;             // of the current node, one per socket
  std::vector<std::int32_t> switch_of_device_;  // of the current node: PCIe switch or host
  std::int32_t system_ = -1;
  std::vector<NetworkEntry> entries_;  // tops of what has been joined so far
};

}  // namespace

Result<Topology> build_from_groups(const ClusterSpec& spec) { return GroupTopologyBuilder(spec).build(); }

}  // namespace moesim::detail
