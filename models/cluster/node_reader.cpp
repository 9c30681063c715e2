// The "node" object of a cluster file: devices, scale-up domain, PCIe tree, NICs.
#include <fmt/format.h>

#include <algorithm>

#include "base/unit_parser.hpp"
#include "models/cluster/cluster_reader.hpp"
#include "models/cluster/provenance_reader.hpp"
#include "models/cluster/read_word.hpp"

namespace moesim::detail {
namespace {

constexpr std::int64_t kMostDevicesPerNode = 4096;

Result<BytesPerSecond> positive_rate(JsonReader& reader, std::string_view key) {
  MOESIM_ASSIGN(const BytesPerSecond rate, reader.required_quantity<BytesPerSecond>(key, parse_bytes_per_second));
  if (rate.value() <= 0)
    return reader.error_at(key, "a link of zero capacity carries nothing", "leave the link out, or give its rate");
  return rate;
}

Result<LinkRate> read_rate(JsonReader& reader, std::string_view out_key, std::string_view in_key) {
  LinkRate rate;
  MOESIM_ASSIGN(rate.out, positive_rate(reader, out_key));
  rate.in = rate.out;
  if (reader.optional(in_key)) {
    MOESIM_ASSIGN(rate.in, positive_rate(reader, in_key));
  }
  return rate;
}

Result<ScaleUpSpec> read_scale_up(JsonReader reader, int devices, ScaleUpKind kind, const Provenance& fallback) {
  ScaleUpSpec result;
  result.kind = kind;
  if (reader.optional("link")) {
    constexpr std::array<std::pair<const char*, LinkClass>, 3> kLinks = {
        {{"nvlink", LinkClass::kNvlink}, {"xgmi", LinkClass::kXgmi}, {"other", LinkClass::kOther}}};
    MOESIM_ASSIGN(result.link, read_word(reader, "link", kLinks));
  }
  MOESIM_ASSIGN(const std::int64_t domain_devices, reader.int_or("domain_devices", devices, 2, kMostDevicesPerNode));
  MOESIM_ASSIGN(const std::int64_t domain_nodes, reader.int_or("domain_nodes", 1, 1, kMaxNodes));
  if (domain_devices > devices || devices % domain_devices != 0)
    return reader.error_at("domain_devices",
                           fmt::format("{} devices do not divide into domains of {}", devices, domain_devices),
                           "for a domain larger than a node give domain_nodes");
  if (domain_nodes > 1 && domain_devices != devices)
    return reader.error_at("domain_nodes", "a domain over several nodes takes all devices of each",
                           "leave domain_devices out");
  result.domain_devices = static_cast<int>(domain_devices);
  result.domain_nodes = static_cast<int>(domain_nodes);
  if (kind == ScaleUpKind::kMesh) {
    MOESIM_ASSIGN(result.pair_rate, positive_rate(reader, "pair_bandwidth"));
    const double peers = static_cast<double>(std::max<std::int64_t>(1, domain_devices * domain_nodes - 1));
    result.rate = {result.pair_rate * peers, result.pair_rate * peers};
  }
  if (kind == ScaleUpKind::kSwitched || reader.has("bandwidth")) {
    MOESIM_ASSIGN(result.rate, read_link_rate(reader));
  }
  if (kind == ScaleUpKind::kSwitched) result.pair_rate = result.rate.out;
  MOESIM_ASSIGN(result.latency, reader.required_quantity<Seconds>("latency", parse_seconds));
  MOESIM_ASSIGN(result.provenance, read_provenance(reader, "provenance", fallback));
  MOESIM_TRY(reader.reject_unknown_keys());
  return result;
}

Status read_optional_scale_up(JsonReader& node, NodeSpec& result, const Provenance& fallback) {
  std::optional<JsonReader> reader = node.optional("scale_up");
  if (!reader) return {};
  enum class Kind { kNone, kSwitch, kMesh };
  constexpr std::array<std::pair<const char*, Kind>, 3> kKinds = {
      {{"nvswitch", Kind::kSwitch}, {"mesh", Kind::kMesh}, {"none", Kind::kNone}}};
  MOESIM_ASSIGN(const Kind kind, read_word(*reader, "kind", kKinds));
  if (kind == Kind::kNone) return reader->reject_unknown_keys();
  MOESIM_ASSIGN(result.scale_up,
                read_scale_up(std::move(*reader), result.devices,
                              kind == Kind::kMesh ? ScaleUpKind::kMesh : ScaleUpKind::kSwitched, fallback));
  return {};
}

Result<PcieSpec> read_pcie(JsonReader reader, int devices, const Provenance& fallback) {
  PcieSpec result;
  MOESIM_ASSIGN(result.rate, read_link_rate(reader));
  MOESIM_ASSIGN(result.latency, reader.required_quantity<Seconds>("latency", parse_seconds));
  MOESIM_ASSIGN(const std::int64_t sockets, reader.int_or("sockets", 1, 1, 64));
  result.sockets = static_cast<int>(sockets);
  if (devices % sockets != 0)
    return reader.error_at("sockets", fmt::format("{} devices do not divide over {} sockets", devices, sockets));
  MOESIM_ASSIGN(const std::int64_t per_switch, reader.int_or("devices_per_switch", 0, 0, kMostDevicesPerNode));
  result.devices_per_switch = static_cast<int>(per_switch);
  if (per_switch > 0 && devices / sockets % per_switch != 0)
    return reader.error_at("devices_per_switch", fmt::format("{} devices per socket do not divide over switches of {}",
                                                             devices / sockets, per_switch));
  result.uplink = result.rate;
  if (reader.has("uplink_bandwidth") || reader.has("uplink_bandwidth_in")) {
    if (per_switch == 0)
      return reader.error_at("uplink_bandwidth", "there is no PCIe switch", "give devices_per_switch");
    MOESIM_ASSIGN(result.uplink, read_rate(reader, "uplink_bandwidth", "uplink_bandwidth_in"));
  }
  if (sockets > 1) {
    MOESIM_ASSIGN(result.socket_rate, read_rate(reader, "socket_bandwidth", "socket_bandwidth_in"));
    MOESIM_ASSIGN(result.socket_latency, reader.required_quantity<Seconds>("socket_latency", parse_seconds));
  }
  MOESIM_ASSIGN(const bool peer, reader.bool_or("peer_to_peer", true));
  result.peer = peer ? PeerAccess::kDirect : PeerAccess::kThroughHost;
  MOESIM_ASSIGN(result.provenance, read_provenance(reader, "provenance", fallback));
  reader.ignore({"uplink_bandwidth", "uplink_bandwidth_in"});
  MOESIM_TRY(reader.reject_unknown_keys());
  return result;
}

Result<NicSpec> read_nics(JsonReader reader, int devices, const Provenance& fallback) {
  NicSpec result;
  MOESIM_ASSIGN(const std::int64_t count, reader.required_int("count", 1, kMostDevicesPerNode));
  if (count > devices && count % devices != 0)
    return reader.error_at("count", fmt::format("{} NICs do not divide over {} devices", count, devices));
  result.count = static_cast<int>(count);
  MOESIM_ASSIGN(result.rate, read_link_rate(reader));
  MOESIM_ASSIGN(result.latency, reader.required_quantity<Seconds>("latency", parse_seconds));
  if (reader.optional("place")) {
    constexpr std::array<std::pair<const char*, NicPlace>, 2> kPlaces = {
        {{"switch", NicPlace::kSwitch}, {"host", NicPlace::kHost}}};
    MOESIM_ASSIGN(result.place, read_word(reader, "place", kPlaces));
  }
  MOESIM_ASSIGN(result.provenance, read_provenance(reader, "provenance", fallback));
  MOESIM_TRY(reader.reject_unknown_keys());
  return result;
}

}  // namespace

Result<DeviceSpec> read_device_or_name(JsonReader& reader, std::string_view key) {
  MOESIM_ASSIGN(const JsonReader value, reader.required(key));
  if (value.is_object()) return read_device(value);
  MOESIM_ASSIGN(const std::string name, value.as_string());
  Result<DeviceSpec> device = find_device(name);
  if (!device) return value.error(device.error().what, device.error().hint);
  return device;
}

Result<LinkRate> read_link_rate(JsonReader& reader) { return read_rate(reader, "bandwidth", "bandwidth_in"); }

Result<NodeSpec> read_node(JsonReader reader, const Provenance& fallback) {
  NodeSpec node;
  MOESIM_ASSIGN(node.device, read_device_or_name(reader, "device"));
  MOESIM_ASSIGN(const std::int64_t devices, reader.required_int("devices", 1, kMostDevicesPerNode));
  node.devices = static_cast<int>(devices);
  MOESIM_TRY(read_optional_scale_up(reader, node, fallback));
  if (auto pcie = reader.optional("pcie")) {
    MOESIM_ASSIGN(node.pcie, read_pcie(std::move(*pcie), node.devices, fallback));
  }
  if (auto nics = reader.optional("nics")) {
    MOESIM_ASSIGN(node.nics, read_nics(std::move(*nics), node.devices, fallback));
  }
  MOESIM_TRY(reader.reject_unknown_keys());
  const bool joined =
      node.devices == 1 || node.pcie || (node.scale_up && node.scale_up->domain_devices == node.devices);
  if (!joined)
    return reader.error(fmt::format("nothing joins the {} devices of a node", node.devices),
                        "give pcie, or a scale_up domain that takes all of them");
  return node;
}

}  // namespace moesim::detail
