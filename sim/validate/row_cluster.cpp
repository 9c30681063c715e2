// Published hardware -> preset cluster, resized. Rules in row_model.hpp.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/text.hpp"
#include "models/cluster/cluster_source.hpp"
#include "models/cluster/cluster_spec.hpp"
#include "sim/validate/row_model.hpp"

namespace moesim {
namespace {

std::size_t common_beginning(std::string_view a, std::string_view b) {
  return static_cast<std::size_t>(std::mismatch(a.begin(), a.begin() + std::min(a.size(), b.size()), b.begin()).first -
                                  a.begin());
}

// The preset for the device; its own first, else the nearest relative.
OrSkipped<ClusterSpec> preset_for(const DeviceSpec& device, int nodes, RowNotes& notes) {
  std::optional<ClusterSpec> nearest;
  std::size_t alike = 0;
  for (const std::string& name : preset_names()) {
    Result<ClusterSpec> spec = load_cluster("preset:" + name, nodes);
    if (!spec || spec->groups.size() != 1) continue;
    const DeviceSpec& own = spec->groups.front().node.device;
    if (own.name == device.name) return std::move(*spec);
    const std::size_t common = common_beginning(own.name, device.name);
    if (own.arch != device.arch || common <= alike) continue;
    alike = common;
    nearest = std::move(*spec);
  }
  if (!nearest) return skipped(fmt::format("no preset cluster for the device '{}'", device.name));
  notes.push_back(fmt::format("no preset has the device {}: the cluster of {} with the device exchanged", device.name,
                              nearest->groups.front().node.device.name));
  nearest->groups.front().node.device = device;
  return std::move(*nearest);
}

void set_nics(NodeSpec& node, std::string_view interconnect, RowNotes& notes) {
  if (!node.nics) return;
  const std::optional<NicText> text = nics_of(interconnect);
  const int before = node.nics->count;
  if (text) {
    node.nics->count = text->count > 0 ? text->count : node.devices;
    node.nics->rate.out = node.nics->rate.in = BytesPerSecond(text->gigabits * 1e9 / 8);
  } else if (before > node.devices) {
    node.nics->count = node.devices;
  }
  if (text && node.nics->count != before)
    notes.push_back(fmt::format("{} NICs per node, as published, where the preset has {}", node.nics->count, before));
}

// Schedulers place a job of several racks with equally many nodes in each ("segments"): 256 GPUs of NVL72 racks are four
// times 16 nodes, not three times 18 and a rest, which would cut groups of 64 ranks in two.
void fill_racks_evenly(ClusterSpec& spec, RowNotes& notes) {
  NodeGroup& group = spec.groups.front();
  if (!group.node.scale_up || group.node.scale_up->domain_nodes <= 1 ||
      group.nodes <= group.node.scale_up->domain_nodes)
    return;
  int nodes = group.node.scale_up->domain_nodes;
  while (group.nodes % nodes != 0) --nodes;
  if (nodes == group.node.scale_up->domain_nodes) return;
  for (NetworkLevel& level : spec.network)
    if (level.nodes == group.node.scale_up->domain_nodes) level.nodes = nodes;
  notes.push_back(fmt::format("{} nodes taken in each rack of {}", nodes, group.node.scale_up->domain_nodes));
  group.node.scale_up->domain_nodes = nodes;
}

OrSkipped<std::shared_ptr<const RowCluster>> compile_for(const TrainingRow& row, std::span<const Profile> profiles) {
  const Result<DeviceSpec> device = find_device(row.hardware);
  if (!device) return skipped(fmt::format("no device '{}' in the catalogue", row.hardware));
  RowNotes notes;
  if (to_lower(row.hardware).find("40/80gb") != std::string::npos)
    notes.push_back(fmt::format("two memory sizes named: {} assumed", device->name));
  const std::int64_t gpus = *row.gpus;
  std::int64_t per_node = row.gpus_per_node.value_or(0);
  if (per_node == 0) {
    OrSkipped<ClusterSpec> own = preset_for(*device, 1, notes);
    if (!own) return skipped(own.error());
    per_node = own->groups.front().node.devices;
  }
  per_node = std::min(per_node, gpus);
  if (gpus % per_node != 0) return skipped("GPUs are no multiple of the GPUs per node");
  OrSkipped<ClusterSpec> spec = preset_for(*device, static_cast<int>(gpus / per_node), notes);
  if (!spec) return skipped(spec.error());
  NodeSpec& node = spec->groups.front().node;
  node.devices = static_cast<int>(per_node);
  set_nics(node, row.interconnect, notes);
  fill_racks_evenly(*spec, notes);
  Result<ClusterView> view = compile(*spec);
  if (!view) return skipped("cluster refused: " + view.error().what);
  return std::make_shared<const RowCluster>(std::move(*view), profiles, std::move(notes));
}

}  // namespace

std::optional<NicText> nics_of(std::string_view interconnect) {
  if (to_lower(interconnect).starts_with("see ")) return std::nullopt;
  NicText nics;
  for (std::string_view rest = interconnect; !rest.empty();) {
    const std::size_t end = std::min(rest.find_first_of(" ;,()"), rest.size());
    const std::string_view word = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    double value = 0;
    if (word.ends_with('x')) {
      int count = 0;
      const auto [stop, error] = std::from_chars(word.data(), word.data() + word.size(), count);
      if (error == std::errc() && stop + 1 == word.data() + word.size() && count > 0 && count <= 64) nics.count = count;
    }
    for (const std::string_view kind : {"NDR", "HDR", "EDR"})
      if (word.starts_with(kind)) value = number_after(word, kind).value_or(0);
    if (word.ends_with("Gb/s")) value = number_after(word, "").value_or(0);
    if (value < 1 || value > 10'000) continue;
    nics.gigabits = value;
    return nics;
  }
  return std::nullopt;
}

OrSkipped<std::shared_ptr<const RowCluster>> RowClusters::find(const TrainingRow& row) {
  if (!row.gpus || *row.gpus == 0) return skipped("number of GPUs not published");
  if (*row.gpus > kMaxRanks) return skipped("more GPUs than a cluster may have");
  const Key key{row.hardware, row.interconnect, *row.gpus, row.gpus_per_node.value_or(0)};
  const auto known = compiled_.find(key);
  if (known != compiled_.end()) return known->second;
  return compiled_.emplace(key, compile_for(row, profiles_)).first->second;
}

}  // namespace moesim
