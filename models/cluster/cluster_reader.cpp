#include "models/cluster/cluster_reader.hpp"

#include <fmt/format.h>

#include <charconv>
#include <utility>

#include "base/text.hpp"
#include "base/unit_parser.hpp"
#include "models/cluster/provenance_reader.hpp"
#include "models/cluster/read_word.hpp"

namespace moesim {
namespace {

Result<NetworkLevel> read_level(JsonReader reader, const Provenance& fallback) {
  NetworkLevel level;
  MOESIM_ASSIGN(level.name, reader.required_string("name"));
  if (level.name.empty() || level.name.size() > 40) return reader.error_at("name", "a name has 1 to 40 letters");
  MOESIM_ASSIGN(const std::int64_t nodes, reader.int_or("nodes", 0, 1, kMaxNodes));
  level.nodes = static_cast<int>(nodes);
  MOESIM_ASSIGN(const bool rails, reader.bool_or("rails", false));
  level.sharing = rails ? SwitchSharing::kPerRail : SwitchSharing::kAllNics;
  MOESIM_ASSIGN(level.latency, reader.required_quantity<Seconds>("latency", parse_seconds));
  if (reader.has("uplink_bandwidth")) {
    if (reader.has("oversubscription"))
      return reader.error_at("oversubscription", "the uplinks are given already",
                             "keep uplink_bandwidth or oversubscription");
    MOESIM_ASSIGN(const BytesPerSecond rate,
                  reader.required_quantity<BytesPerSecond>("uplink_bandwidth", parse_bytes_per_second));
    if (rate.value() <= 0) return reader.error_at("uplink_bandwidth", "a link of zero capacity carries nothing");
    level.uplink = LinkRate{rate, rate};
  }
  MOESIM_ASSIGN(level.oversubscription, reader.double_or("oversubscription", 1, 0.01, 1000));
  MOESIM_ASSIGN(level.reduces, reader.bool_or("reduces", false));
  MOESIM_ASSIGN(level.provenance, read_provenance(reader, "provenance", fallback));
  reader.ignore({"uplink_bandwidth"});
  MOESIM_TRY(reader.reject_unknown_keys());
  return level;
}

// Each level spans whole groups of the one below, and rails do not come back after a level that joined them.
Status check_levels(const JsonReader& list, const std::vector<NetworkLevel>& levels) {
  for (std::size_t i = 1; i < levels.size(); ++i) {
    const NetworkLevel& below = levels[i - 1];
    const NetworkLevel& level = levels[i];
    // Below spanning everything is fine only where this level still joins its rails.
    const bool joins_rails = below.sharing == SwitchSharing::kPerRail && level.sharing == SwitchSharing::kAllNics;
    if (below.nodes == 0 && !(joins_rails && level.nodes == 0))
      return list.error(fmt::format("level '{}' stands above '{}', which spans all nodes", level.name, below.name),
                        "give the lower level the number of nodes that one switch spans");
    if (level.nodes != 0 && (level.nodes < below.nodes || level.nodes % below.nodes != 0))
      return list.error(fmt::format("level '{}' spans {} nodes, which is no multiple of the {} of '{}'", level.name,
                                    level.nodes, below.nodes, below.name));
    if (level.sharing == SwitchSharing::kPerRail && below.sharing == SwitchSharing::kAllNics)
      return list.error(fmt::format("level '{}' keeps rails apart that '{}' has joined", level.name, below.name));
  }
  return {};
}

Result<std::vector<NetworkLevel>> read_network(JsonReader& root, const Provenance& fallback) {
  std::vector<NetworkLevel> levels;
  const std::optional<JsonReader> list = root.optional("network");
  if (!list) return levels;
  MOESIM_ASSIGN(const std::vector<JsonReader> entries, list->elements());
  if (entries.size() > 6) return list->error(fmt::format("{} network levels are more than 6", entries.size()));
  for (const JsonReader& entry : entries) {
    MOESIM_ASSIGN(NetworkLevel level, read_level(entry, fallback));
    levels.push_back(std::move(level));
  }
  MOESIM_TRY(check_levels(*list, levels));
  return levels;
}

// 3 or "8-15".
Result<std::pair<std::int64_t, std::int64_t>> read_rank_range(const JsonReader& reader) {
  if (reader.is_number()) {
    MOESIM_ASSIGN(const std::int64_t rank, reader.as_int(0, kMaxRanks));
    return std::pair(rank, rank);
  }
  MOESIM_ASSIGN(const std::string text, reader.as_string());
  std::int64_t first = 0;
  std::int64_t last = 0;
  const char* const end = text.data() + text.size();
  const auto [middle, code] = std::from_chars(text.data(), end, first);
  if (code == std::errc{} && middle != end && *middle == '-') {
    const auto [stop, last_code] = std::from_chars(middle + 1, end, last);
    if (last_code == std::errc{} && stop == end && first >= 0 && last >= first && last <= kMaxRanks)
      return std::pair(first, last);
  }
  return reader.error(fmt::format("'{}' is not a range of ranks", text), R"(a rank like 3, or a range like "8-15")");
}

Result<std::vector<SpeedRule>> read_slow_ranks(JsonReader& root) {
  std::vector<SpeedRule> rules;
  const std::optional<JsonReader> list = root.optional("slow_ranks");
  if (!list) return rules;
  MOESIM_ASSIGN(const std::vector<JsonReader> entries, list->elements());
  for (JsonReader entry : entries) {
    MOESIM_ASSIGN(const double speed, entry.required_double("speed", 0.001, 10));
    MOESIM_ASSIGN(const JsonReader ranks, entry.required("ranks"));
    MOESIM_ASSIGN(const std::vector<JsonReader> ranges, ranks.elements());
    MOESIM_TRY(entry.reject_unknown_keys());
    for (const JsonReader& range : ranges) {
      MOESIM_ASSIGN(const auto bounds, read_rank_range(range));
      rules.push_back({bounds.first, bounds.second, speed});
    }
  }
  return rules;
}

Result<int> node_count(JsonReader& reader, std::int64_t override_nodes) {
  MOESIM_ASSIGN(std::int64_t count, reader.int_or("nodes", 0, 1, kMaxNodes));
  if (override_nodes > 0) count = override_nodes;
  if (count == 0)
    return reader.error("the number of nodes is not given",
                        "add \"nodes\" to the file or --nodes N to the command line");
  return static_cast<int>(count);
}

Status check_override(const JsonReader& root, std::int64_t wanted, std::int64_t own, std::string_view form) {
  if (wanted == 0 || wanted == own) return {};
  return root.error(fmt::format("{} nodes were asked for, and the file lists its {} nodes by {}", wanted, own, form),
                    "change the file, or leave --nodes out");
}

Status read_groups(JsonReader& root, std::int64_t nodes, const Provenance& fallback, ClusterSpec& spec) {
  if (root.has("node")) {
    NodeGroup group;
    MOESIM_ASSIGN(const JsonReader node, root.required("node"));
    MOESIM_ASSIGN(group.node, detail::read_node(node, fallback));
    MOESIM_ASSIGN(group.nodes, node_count(root, nodes));
    spec.groups.push_back(std::move(group));
    return {};
  }
  MOESIM_ASSIGN(const JsonReader list, root.required("groups"));
  MOESIM_ASSIGN(std::vector<JsonReader> entries, list.elements());
  if (entries.empty()) return list.error("a cluster needs at least one group of nodes");
  for (JsonReader& entry : entries) {
    NodeGroup group;
    MOESIM_ASSIGN(const std::int64_t count, entry.required_int("nodes", 1, kMaxNodes));
    group.nodes = static_cast<int>(count);
    MOESIM_ASSIGN(const JsonReader node, entry.required("node"));
    MOESIM_ASSIGN(group.node, detail::read_node(node, fallback));
    MOESIM_TRY(entry.reject_unknown_keys());
    spec.groups.push_back(std::move(group));
  }
  return check_override(root, nodes, spec.nodes(), "group");
}

Status check_forms(const JsonReader& root) {
  const int forms = (root.has("node") ? 1 : 0) + (root.has("groups") ? 1 : 0) + (root.has("topology") ? 1 : 0);
  if (forms == 1) return {};
  return root.error(forms == 0 ? "the cluster has no nodes" : "the cluster describes its nodes in more than one way",
                    "give one of \"node\" (all alike), \"groups\" (several kinds) and \"topology\" (named switches)");
}

}  // namespace

Result<ClusterSpec> read_cluster(JsonReader root, std::int64_t nodes) {
  if (!root.is_object()) return root.error("a cluster file holds one JSON object");
  ClusterSpec spec;
  spec.source = root.place();
  MOESIM_ASSIGN(spec.name, root.required_string("name"));
  MOESIM_ASSIGN(spec.note, root.string_or("note", ""));
  root.ignore({"aliases"});  // of presets; a copy of one is a valid file
  MOESIM_ASSIGN(const Provenance fallback,
                read_provenance(root, "provenance", Provenance{Origin::kUser, root.place(), -1, {}}));
  MOESIM_TRY(check_forms(root));
  if (root.has("topology")) {
    MOESIM_ASSIGN(const JsonReader topology, root.required("topology"));
    MOESIM_ASSIGN(spec.topology, detail::read_topology(topology, fallback));
    MOESIM_TRY(check_override(root, nodes, spec.nodes(), "device"));
  } else {
    MOESIM_TRY(read_groups(root, nodes, fallback, spec));
    MOESIM_ASSIGN(spec.network, read_network(root, fallback));
  }
  MOESIM_ASSIGN(spec.slow, read_slow_ranks(root));
  MOESIM_TRY(root.reject_unknown_keys());
  return spec;
}

}  // namespace moesim
