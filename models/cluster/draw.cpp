#include "models/cluster/draw.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "base/text.hpp"

namespace moesim {
namespace {

constexpr std::size_t kNameWidth = 8;

std::string plural(std::int64_t count, std::string_view word) {
  return fmt::format("{} {}{}", count, word, count == 1 ? "" : "s");
}

std::string range(std::int64_t low, std::int64_t high) {
  return low == high ? fmt::format("{}", low) : fmt::format("{} to {}", low, high);
}

struct Spread {
  std::int64_t count = 0;  // distinct entries
  std::int64_t least = 0;
  std::int64_t most = 0;
};

// How many ranks each of the numbered groups (or ports) has.
Spread spread_of(const std::vector<std::int32_t>& entry_of_rank) {
  std::map<std::int32_t, std::int64_t> members;
  for (const std::int32_t entry : entry_of_rank) ++members[entry];
  Spread spread{static_cast<std::int64_t>(members.size()), 0, 0};
  for (const auto& [entry, ranks] : members) {
    spread.least = spread.least == 0 ? ranks : std::min(spread.least, ranks);
    spread.most = std::max(spread.most, ranks);
  }
  return spread;
}

std::string rate_text(const Port& port) {
  if (std::isinf(port.out.value())) return "no limit of its own";
  if (port.out == port.in) return humanize(port.out);
  return fmt::format("{} out, {} in", humanize(port.out), humanize(port.in));
}

// "8 ports of 1.60 TB/s, 2 ranks on each": one line for each distinct rate, in falling order.
std::vector<std::string> port_lines(const Tier& tier) {
  std::map<std::pair<double, double>, std::vector<std::int32_t>, std::greater<>> by_rate;
  for (const std::int32_t port : tier.port_of_rank) {
    const Port& rate = tier.ports[static_cast<std::size_t>(port)];
    by_rate[{rate.out.value(), rate.in.value()}].push_back(port);
  }
  std::vector<std::string> lines;
  for (const auto& [rate, ports] : by_rate) {
    const Spread spread = spread_of(ports);
    lines.push_back(fmt::format("{} of {}", plural(spread.count, "port"),
                                rate_text({BytesPerSecond(rate.first), BytesPerSecond(rate.second)})));
    if (spread.most > 1) lines.back() += fmt::format(", {} ranks on each", range(spread.least, spread.most));
  }
  if (tier.mesh) lines.push_back(fmt::format("direct links: a pair reaches {}", humanize(tier.pair_limit)));
  return lines;
}

std::string ladder(std::string_view rung) { return fmt::format("  {:{}}{}", "│", kNameWidth, rung); }

void draw_tier(const ClusterView& view, int index, std::vector<std::string>& lines) {
  const Tier& tier = view.tier(index);
  const Spread groups = spread_of(tier.group_of_rank);
  lines.push_back(fmt::format("  {:{}}{} of {} {}, {} one way", tier.name, std::max(kNameWidth, tier.name.size() + 1),
                              plural(groups.count, "group"), range(groups.least, groups.most),
                              groups.most == 1 ? "rank" : "ranks", humanize(tier.latency)));
  for (const std::string& line : port_lines(tier)) lines.push_back(ladder(line));
  if (tier.first_port_tier < index)
    lines.push_back(ladder(fmt::format("crosses the ports of {} as well", view.tier(tier.first_port_tier).name)));
  lines.push_back(ladder(fmt::format("{}: {}", origin_name(tier.provenance.origin), tier.provenance.source)));
}

std::string device_line(const DeviceSpec& device) {
  return fmt::format("{}, {} at {}", device.name, humanize(device.memory), humanize(device.memory_bandwidth));
}

std::string scale_up_line(const ScaleUpSpec& scale_up) {
  const std::string where = scale_up.domain_nodes > 1 ? fmt::format("domain of {} nodes", scale_up.domain_nodes)
                                                      : fmt::format("domain of {} devices", scale_up.domain_devices);
  return fmt::format("{} {}, {} per device, {}", link_class_name(scale_up.link),
                     scale_up.kind == ScaleUpKind::kMesh ? "mesh" : "switch", humanize(scale_up.rate.out), where);
}

std::string pcie_line(const PcieSpec& pcie) {
  std::string line = fmt::format("pcie {} per device", humanize(pcie.rate.out));
  if (pcie.devices_per_switch > 0) line += fmt::format(", {} on a switch", pcie.devices_per_switch);
  if (pcie.sockets > 1) line += fmt::format(", {} sockets joined by {}", pcie.sockets, humanize(pcie.socket_rate.out));
  if (pcie.peer == PeerAccess::kThroughHost) line += ", no peer-to-peer";
  return line;
}

void draw_box(const std::string& title, const std::vector<std::string>& content, std::vector<std::string>& lines) {
  std::size_t width = title.size() + 2;
  for (const std::string& line : content) width = std::max(width, line.size());
  const auto rule = [](std::size_t count) {
    std::string text;
    for (std::size_t i = 0; i < count; ++i) text += "─";
    return text;
  };
  lines.push_back(fmt::format("  ┌ {} {}┐", title, rule(width - title.size())));
  for (const std::string& line : content) lines.push_back(fmt::format("  │ {:{}} │", line, width));
  lines.push_back(fmt::format("  └{}┘", rule(width + 2)));
}

void draw_group(const NodeGroup& group, std::vector<std::string>& lines) {
  const NodeSpec& node = group.node;
  std::vector<std::string> content = {fmt::format("{} x {}", node.devices, device_line(node.device))};
  if (node.scale_up) content.push_back(scale_up_line(*node.scale_up));
  if (node.pcie) content.push_back(pcie_line(*node.pcie));
  if (node.nics)
    content.push_back(fmt::format("{} x NIC {}{}", node.nics->count, humanize(node.nics->rate.out),
                                  node.nics->place == NicPlace::kHost && node.pcie ? " behind the host" : ""));
  draw_box(plural(group.nodes, "node"), content, lines);
}

}  // namespace

std::vector<std::string> draw(const ClusterSpec& spec, const ClusterView& view) {
  std::vector<std::string> lines = {
      fmt::format("{}: {}, {}", spec.name, plural(view.nodes(), "node"), plural(view.ranks(), "rank")), ""};
  for (int index = static_cast<int>(view.tiers().size()) - 1; index >= 0; --index) draw_tier(view, index, lines);
  for (const NodeGroup& group : spec.groups) draw_group(group, lines);
  if (spec.topology)
    for (const DeviceSpec& device : view.devices()) lines.push_back("  " + device_line(device));
  return lines;
}

}  // namespace moesim
