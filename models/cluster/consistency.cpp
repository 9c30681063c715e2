#include "models/cluster/consistency.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/text.hpp"

namespace moesim {
namespace {

// Outside of these a figure is more likely mistyped than true of a machine of the years 2017 to 2026.
constexpr BytesPerSecond kFastestNic{200e9};
constexpr BytesPerSecond kFastestPcie{130e9};
constexpr BytesPerSecond kFastestScaleUp{2e12};
constexpr BytesPerSecond kSlowestLink{0.1e9};
constexpr BytesPerSecond kFastestMemory{30e12};
constexpr BytesPerSecond kSlowestMemory{20e9};
constexpr Bytes kLargestMemory{std::int64_t{1} << 40};
constexpr Bytes kSmallestMemory{std::int64_t{1} << 30};
constexpr FlopsPerSecond kFastestBf16{20e15};
constexpr Seconds kLongestLatency{1e-3};
constexpr double kFastestRank = 1.5;

class Checker {
 public:
  Checker(const ClusterSpec& spec, const ClusterView& view) : spec_(spec), view_(view) {}

  std::vector<ClusterFinding> check() {
    for (const DeviceSpec& device : view_.devices()) check_device(device);
    if (view_.devices().size() > 1)
      note("the cluster mixes devices: " + device_list(), "a collective waits for its slowest rank");
    for (const NodeGroup& group : spec_.groups) check_group(group);
    for (const NetworkLevel& level : spec_.network) check_level(level);
    for (const Tier& tier : view_.tiers()) check_tier(tier);
    check_speeds();
    return std::move(findings_);
  }

 private:
  void note(std::string what, std::string hint = {}) {
    findings_.push_back({ClusterSeverity::kNote, std::move(what), std::move(hint)});
  }
  void warn(std::string what, std::string hint = {}) {
    findings_.push_back({ClusterSeverity::kWarning, std::move(what), std::move(hint)});
  }

  [[nodiscard]] std::string device_list() const {
    std::vector<std::string> names;
    for (const DeviceSpec& device : view_.devices())
      if (std::find(names.begin(), names.end(), device.name) == names.end()) names.push_back(device.name);
    return fmt::format("{}", fmt::join(names, ", "));
  }

  void check_device(const DeviceSpec& device) {
    if (device.memory_bandwidth > kFastestMemory || device.memory_bandwidth < kSlowestMemory)
      warn(fmt::format("{}: a memory bandwidth of {} is out of the ordinary", device.name,
                       humanize(device.memory_bandwidth)),
           "GB/s is 1e9 bytes per second; Gbit/s are bits");
    if (device.memory > kLargestMemory || device.memory < kSmallestMemory)
      warn(fmt::format("{}: {} of memory is out of the ordinary", device.name, humanize(device.memory)));
    if (device.peak(DType::kBf16) > kFastestBf16)
      warn(fmt::format("{}: a BF16 peak of {:.0f} TFLOPS is out of the ordinary", device.name,
                       device.peak(DType::kBf16).value() / 1e12),
           "give the dense figure of one device");
    if (device.peak(DType::kBf16).value() == 0 && device.peak(DType::kFp16).value() == 0)
      warn(fmt::format("{} has neither a BF16 nor an FP16 peak rate", device.name),
           "only FP32 training can be planned for it");
    if (!device.note.empty()) note(fmt::format("{}: {}", device.name, device.note));
  }

  void check_rate(std::string_view what, const LinkRate& rate, BytesPerSecond fastest, std::string_view hint) {
    const BytesPerSecond high = std::max(rate.out, rate.in);
    const BytesPerSecond low = std::min(rate.out, rate.in);
    if (high > fastest) warn(fmt::format("{} of {} is faster than any known", what, humanize(high)), std::string(hint));
    if (low < kSlowestLink)
      warn(fmt::format("{} of {} is very slow", what, humanize(low)), "check the prefix: M is 1e6, G is 1e9");
    if (rate.out != rate.in)
      note(fmt::format("{} is asymmetric: {} out, {} in", what, humanize(rate.out), humanize(rate.in)));
  }

  void check_latency(std::string_view what, Seconds latency) {
    if (latency > kLongestLatency)
      warn(fmt::format("{}: a latency of {} is out of the ordinary", what, humanize(latency)),
           "us is 1e-6 s, ms is 1e-3 s");
  }

  void check_group(const NodeGroup& group) {
    const NodeSpec& node = group.node;
    if (node.scale_up) check_scale_up(*node.scale_up, group);
    if (node.pcie) {
      check_rate("a PCIe link", node.pcie->rate, kFastestPcie,
                 "give the rate of one direction, 63GB/s for PCIe 5.0 x16");
      check_latency("PCIe", node.pcie->latency);
    }
    if (node.nics) check_nics(*node.nics, node);
  }

  void check_scale_up(const ScaleUpSpec& scale_up, const NodeGroup& group) {
    check_rate("a scale-up port", scale_up.rate, kFastestScaleUp, "give the rate of one device and one direction");
    check_latency("scale-up domain", scale_up.latency);
    if (group.nodes % scale_up.domain_nodes != 0)
      warn(fmt::format("{} nodes do not fill scale-up domains of {} nodes: the last one has {}", group.nodes,
                       scale_up.domain_nodes, group.nodes % scale_up.domain_nodes),
           fmt::format("use a multiple of {} nodes", scale_up.domain_nodes));
    const int size = scale_up.domain_devices * scale_up.domain_nodes;
    const double full_mesh = scale_up.pair_rate.value() * std::max(1, size - 1);
    if (scale_up.kind == ScaleUpKind::kMesh && scale_up.rate.out.value() > full_mesh * 1.001)
      warn(fmt::format("a mesh port of {} is more than its {} links of {}", humanize(scale_up.rate.out),
                       std::max(1, size - 1), humanize(scale_up.pair_rate)),
           "leave the bandwidth of the mesh out: it follows from pair_bandwidth");
    if (group.node.nics && scale_up.rate.out < group.node.nics->rate.out)
      warn(fmt::format("the scale-up port ({}) is slower than the NIC ({})", humanize(scale_up.rate.out),
                       humanize(group.node.nics->rate.out)));
  }

  void check_nics(const NicSpec& nics, const NodeSpec& node) {
    check_rate("a NIC", nics.rate, kFastestNic, "network rates are quoted in bits: 400Gbit/s is 50GB/s");
    check_latency("NIC", nics.latency);
    if (node.pcie && nics.rate.out > node.pcie->rate.out)
      warn(fmt::format("the NIC ({}) is faster than its PCIe link ({})", humanize(nics.rate.out),
                       humanize(node.pcie->rate.out)),
           "the PCIe link sets the rate");
    if (nics.count < node.devices && node.devices % nics.count != 0)
      warn(
          fmt::format("{} NICs do not divide {} devices: some share a NIC with more others", nics.count, node.devices));
    else if (nics.count < node.devices)
      note(fmt::format("{} devices share one NIC", node.devices / nics.count));
  }

  void check_level(const NetworkLevel& level) {
    check_latency(fmt::format("network level '{}'", level.name), level.latency);
    if (level.uplink)
      check_rate(fmt::format("an uplink into '{}'", level.name), *level.uplink, BytesPerSecond(1e15),
                 "Gbit/s are bits");
    if (level.oversubscription > 1)
      note(fmt::format("network level '{}' is oversubscribed {:g}:1", level.name, level.oversubscription));
    if (level.oversubscription < 1)
      warn(fmt::format("network level '{}' has more capacity upwards than downwards ({:g}:1)", level.name,
                       level.oversubscription),
           "2 means that the links below carry twice what the uplinks can");
    if (std::none_of(view_.tiers().begin(), view_.tiers().end(),
                     [&](const Tier& tier) { return tier.name == level.name; }))
      note(fmt::format("network level '{}' joins nothing that nearer levels have not joined at this size", level.name));
  }

  void check_tier(const Tier& tier) {
    const auto asymmetric = [](const Port& port) { return port.out != port.in; };
    if (spec_.topology && std::any_of(tier.ports.begin(), tier.ports.end(), asymmetric))
      note(fmt::format("tier '{}' has ports with different rates out and in", tier.name));
  }

  void check_speeds() {
    int slow = 0;
    int fast = 0;
    for (int rank = 0; rank < view_.ranks(); ++rank) {
      const double speed = view_.speed(RankId(rank));
      slow += speed < 1 ? 1 : 0;
      fast += speed > kFastestRank ? 1 : 0;
    }
    if (slow > 0) note(fmt::format("{} of {} ranks are slower than their device's figures", slow, view_.ranks()));
    if (fast > 0)
      warn(fmt::format("{} of {} ranks have a speed above {:g}", fast, view_.ranks(), kFastestRank),
           "1 is a healthy rank and 0.8 a slow one; for a better device name that device");
  }

  const ClusterSpec& spec_;
  const ClusterView& view_;
  std::vector<ClusterFinding> findings_;
};

}  // namespace

const char* severity_name(ClusterSeverity severity) {
  return severity == ClusterSeverity::kWarning ? "warning" : "note";
}

std::vector<ClusterFinding> check_consistency(const ClusterSpec& spec, const ClusterView& view) {
  return Checker(spec, view).check();
}

}  // namespace moesim
