// The graph of the long form: named switches, each with links towards the outside.
#include <fmt/format.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/text.hpp"
#include "models/cluster/topology.hpp"

namespace moesim::detail {
namespace {

LinkClass class_of(SwitchKind from, bool from_device, const ExplicitSwitch& to) {
  if (!from_device && from == SwitchKind::kNic) return LinkClass::kNic;
  switch (to.kind) {
    case SwitchKind::kScaleUp:
    case SwitchKind::kMesh: return to.scale_up_link;
    case SwitchKind::kPcie:
    case SwitchKind::kHost:
    case SwitchKind::kNic: return LinkClass::kPcie;
    case SwitchKind::kSystem: return LinkClass::kSocket;
    case SwitchKind::kNetwork: return LinkClass::kSwitch;
  }
  return LinkClass::kOther;
}

const char* tier_name_of(const ExplicitSwitch& entry) {
  if (entry.kind == SwitchKind::kScaleUp || entry.kind == SwitchKind::kMesh)
    return link_class_name(entry.scale_up_link);
  return entry.kind == SwitchKind::kSystem ? "socket" : switch_kind_name(entry.kind);
}

class SwitchTopologyBuilder {
 public:
  explicit SwitchTopologyBuilder(const ClusterSpec& spec) : spec_(spec), given_(*spec.topology) {}

  Result<Topology> build() {
    topology_.devices = given_.devices;
    topology_.provenances.push_back(given_.provenance);
    for (const ExplicitSwitch& entry : given_.switches) MOESIM_TRY(add_switch(entry));
    for (const ExplicitSwitch& entry : given_.switches)
      for (const ExplicitLink& link : entry.uplinks)
        MOESIM_TRY(join(entry.name, vertices_.at(entry.name), entry.kind, link));
    for (const ExplicitDevice& device : given_.ranks) MOESIM_TRY(add_device(device));
    return std::move(topology_);
  }

 private:
  Status claim(const std::string& name, std::int32_t vertex) {
    if (vertices_.emplace(name, vertex).second) return {};
    return invalid_input(fmt::format("the name '{}' is used twice in the topology", name), spec_.source);
  }

  Status add_switch(const ExplicitSwitch& entry) {
    TopologyVertex vertex;
    vertex.kind = entry.kind;
    vertex.meets = entry.kind != SwitchKind::kNic;
    vertex.name = entry.name;
    vertex.tier_name = tier_name_of(entry);
    vertex.latency = entry.latency;
    vertex.pair_rate = entry.pair_rate;
    vertex.reduces = entry.reduces;
    by_name_.emplace(entry.name, &entry);
    return claim(entry.name, add_vertex(topology_, std::move(vertex)));
  }

  Status add_device(const ExplicitDevice& device) {
    TopologyVertex vertex;
    vertex.is_device = true;
    vertex.name = device.name;
    const std::int32_t at = add_vertex(topology_, std::move(vertex));
    MOESIM_TRY(claim(device.name, at));
    topology_.vertex_of_rank.push_back(at);
    topology_.device_of_rank.push_back(device.device);
    topology_.node_of_rank.push_back(device.node);
    topology_.speed_of_rank.push_back(device.speed);
    for (const ExplicitLink& link : device.links) MOESIM_TRY(join(device.name, at, std::nullopt, link));
    if (device.nic.empty()) return {};
    const auto nic = by_name_.find(device.nic);
    if (nic == by_name_.end() || nic->second->kind != SwitchKind::kNic)
      return invalid_input(fmt::format("device '{}' names the NIC '{}', and no switch of kind nic has that name",
                                       device.name, device.nic),
                           spec_.source, suggestion(device.nic));
    (*topology_.graph)[static_cast<std::size_t>(at)].nic = vertices_.at(device.nic);
    return {};
  }

  Status join(const std::string& name, std::int32_t from, std::optional<SwitchKind> kind, const ExplicitLink& link) {
    const auto target = by_name_.find(link.to);
    if (target == by_name_.end())
      return invalid_input(fmt::format("'{}' has a link to '{}', and no switch has that name", name, link.to),
                           spec_.source, suggestion(link.to));
    const LinkClass link_class = class_of(kind.value_or(SwitchKind::kNetwork), !kind.has_value(), *target->second);
    add_link(topology_, from, vertices_.at(link.to), {.link = link_class, .rate = link.rate, .latency = link.latency});
    return {};
  }

  [[nodiscard]] std::string suggestion(const std::string& name) const {
    std::vector<std::string> known;
    for (const auto& [spelling, entry] : by_name_) known.push_back(spelling);
    const std::string closest = closest_spelling(name, known);
    return closest.empty() ? "links lead to switches of this file" : fmt::format("did you mean '{}'?", closest);
  }

  const ClusterSpec& spec_;
  const ExplicitTopology& given_;
  Topology topology_;
  std::map<std::string, std::int32_t> vertices_;
  std::map<std::string, const ExplicitSwitch*> by_name_;
};

}  // namespace

Result<Topology> build_from_switches(const ClusterSpec& spec) { return SwitchTopologyBuilder(spec).build(); }

}  // namespace moesim::detail
