// The "topology" object of a cluster file: devices and named switches with their uplinks.
#include <fmt/format.h>

#include <utility>

#include "base/unit_parser.hpp"
#include "models/cluster/cluster_reader.hpp"
#include "models/cluster/provenance_reader.hpp"
#include "models/cluster/read_word.hpp"

namespace moesim::detail {
namespace {

constexpr std::size_t kMostDeviceKinds = 256;

Result<std::vector<ExplicitLink>> read_links(JsonReader& owner, std::string_view key) {
  std::vector<ExplicitLink> links;
  const std::optional<JsonReader> list = owner.optional(key);
  if (!list) return links;
  MOESIM_ASSIGN(std::vector<JsonReader> entries, list->elements());
  for (JsonReader& entry : entries) {
    ExplicitLink link;
    MOESIM_ASSIGN(link.to, entry.required_string("to"));
    MOESIM_ASSIGN(link.rate, read_link_rate(entry));
    MOESIM_ASSIGN(link.latency, entry.quantity_or("latency", Seconds(), parse_seconds));
    MOESIM_TRY(entry.reject_unknown_keys());
    links.push_back(std::move(link));
  }
  return links;
}

Result<std::string> read_name(JsonReader& reader) {
  MOESIM_ASSIGN(std::string name, reader.required_string("name"));
  if (name.empty() || name.size() > 200) return reader.error_at("name", "a name has 1 to 200 letters");
  return name;
}

Result<ExplicitSwitch> read_switch(JsonReader reader) {
  constexpr std::array<std::pair<const char*, SwitchKind>, 7> kKinds = {{{"nvswitch", SwitchKind::kScaleUp},
                                                                         {"mesh", SwitchKind::kMesh},
                                                                         {"pcie", SwitchKind::kPcie},
                                                                         {"host", SwitchKind::kHost},
                                                                         {"system", SwitchKind::kSystem},
                                                                         {"nic", SwitchKind::kNic},
                                                                         {"network", SwitchKind::kNetwork}}};
  ExplicitSwitch result;
  MOESIM_ASSIGN(result.name, read_name(reader));
  MOESIM_ASSIGN(result.kind, read_word(reader, "kind", kKinds));
  MOESIM_ASSIGN(result.latency, reader.quantity_or("latency", Seconds(), parse_seconds));
  const bool scale_up = result.kind == SwitchKind::kScaleUp || result.kind == SwitchKind::kMesh;
  if (scale_up && reader.optional("link")) {
    constexpr std::array<std::pair<const char*, LinkClass>, 3> kLinks = {
        {{"nvlink", LinkClass::kNvlink}, {"xgmi", LinkClass::kXgmi}, {"other", LinkClass::kOther}}};
    MOESIM_ASSIGN(result.scale_up_link, read_word(reader, "link", kLinks));
  }
  if (result.kind == SwitchKind::kMesh) {
    MOESIM_ASSIGN(result.pair_rate, reader.required_quantity<BytesPerSecond>("pair_bandwidth", parse_bytes_per_second));
    if (result.pair_rate.value() <= 0)
      return reader.error_at("pair_bandwidth", "a link of zero capacity carries nothing");
  }
  if (result.kind == SwitchKind::kNetwork) {
    MOESIM_ASSIGN(result.reduces, reader.bool_or("reduces", false));
  }
  MOESIM_ASSIGN(result.uplinks, read_links(reader, "uplinks"));
  MOESIM_TRY(reader.reject_unknown_keys());
  return result;
}

bool same_figures(const DeviceSpec& a, const DeviceSpec& b) {
  for (int type = 0; type <= static_cast<int>(DType::kInt64); ++type)
    if (a.peak(static_cast<DType>(type)) != b.peak(static_cast<DType>(type))) return false;
  return a.memory == b.memory && a.memory_bandwidth == b.memory_bandwidth && a.compute_units == b.compute_units;
}

// The index of the device in the list of distinct ones; two descriptions under one name must agree.
Result<std::int32_t> intern(const JsonReader& place, std::vector<DeviceSpec>& devices, DeviceSpec device) {
  for (std::size_t i = 0; i < devices.size(); ++i) {
    if (devices[i].name != device.name) continue;
    if (same_figures(devices[i], device)) return static_cast<std::int32_t>(i);
    return place.error_at("device", fmt::format("'{}' is described twice, with different figures", device.name),
                          "give the two devices different names");
  }
  if (devices.size() >= kMostDeviceKinds)
    return place.error_at("device", fmt::format("more than {} kinds of device", kMostDeviceKinds));
  devices.push_back(std::move(device));
  return static_cast<std::int32_t>(devices.size()) - 1;
}

Result<ExplicitDevice> read_rank(JsonReader reader, std::vector<DeviceSpec>& devices) {
  ExplicitDevice result;
  MOESIM_ASSIGN(result.name, read_name(reader));
  MOESIM_ASSIGN(DeviceSpec device, read_device_or_name(reader, "device"));
  MOESIM_ASSIGN(result.device, intern(reader, devices, std::move(device)));
  MOESIM_ASSIGN(const std::int64_t node, reader.required_int("node", 0, kMaxNodes - 1));
  result.node = static_cast<std::int32_t>(node);
  MOESIM_ASSIGN(result.speed, reader.double_or("speed", 1, 0.001, 10));
  MOESIM_ASSIGN(result.nic, reader.string_or("nic", ""));
  MOESIM_ASSIGN(result.links, read_links(reader, "links"));
  MOESIM_TRY(reader.reject_unknown_keys());
  return result;
}

// Nodes are numbered without gaps and in the order of the ranks, so that "the first 8 ranks" are one node.
Status check_nodes(const JsonReader& list, const std::vector<ExplicitDevice>& ranks) {
  std::int32_t expected = 0;
  for (const ExplicitDevice& rank : ranks) {
    if (rank.node != expected && rank.node != expected + 1)
      return list.error(fmt::format("device '{}' is of node {} where node {} or {} is next", rank.name, rank.node,
                                    expected, expected + 1),
                        "list the devices node by node, from node 0 on");
    expected = rank.node;
  }
  return {};
}

}  // namespace

Result<ExplicitTopology> read_topology(JsonReader reader, const Provenance& fallback) {
  ExplicitTopology topology;
  MOESIM_ASSIGN(topology.provenance, read_provenance(reader, "provenance", fallback));
  MOESIM_ASSIGN(const JsonReader switches, reader.required("switches"));
  MOESIM_ASSIGN(const std::vector<JsonReader> switch_list, switches.elements());
  for (const JsonReader& entry : switch_list) {
    MOESIM_ASSIGN(ExplicitSwitch read, read_switch(entry));
    topology.switches.push_back(std::move(read));
  }
  MOESIM_ASSIGN(const JsonReader devices, reader.required("devices"));
  MOESIM_ASSIGN(const std::vector<JsonReader> device_list, devices.elements());
  if (device_list.empty()) return devices.error("a cluster needs at least one device");
  for (const JsonReader& entry : device_list) {
    MOESIM_ASSIGN(ExplicitDevice read, read_rank(entry, topology.devices));
    topology.ranks.push_back(std::move(read));
  }
  MOESIM_TRY(check_nodes(devices, topology.ranks));
  MOESIM_TRY(reader.reject_unknown_keys());
  return topology;
}

}  // namespace moesim::detail
