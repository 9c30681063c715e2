// moesim cluster show | list

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "calibration/profile.hpp"
#include "models/cluster/cluster_source.hpp"
#include "models/cluster/consistency.hpp"
#include "models/cluster/draw.hpp"
#include "models/cluster/link_paths.hpp"
#include "models/cost/cost_model.hpp"
#include "models/cost/split_law.hpp"
#include "sim/cli/commands/commands.hpp"
#include "sim/cli/sources.hpp"

namespace moesim {
namespace {

MetricTable device_table(const ClusterView& view) {
  MetricTable table({{"name", MetricUnit::kNone, "device", "Catalogue name"},
                     {"ranks", MetricUnit::kNone, "ranks", "How many of them"},
                     {"memory_bytes", MetricUnit::kBytes, "memory", "That a program can allocate"},
                     {"memory_bandwidth_bytes_per_s", MetricUnit::kBytesPerSecond, "bandwidth", "Of that memory, peak"},
                     {"peak_bf16_flops_per_s", MetricUnit::kFlopsPerSecond, "BF16", "Dense peak"},
                     {"peak_fp8_flops_per_s", MetricUnit::kFlopsPerSecond, "FP8", "Dense peak; 0 without such units"},
                     {"origin", MetricUnit::kNone, "origin", "Datasheet, measured, ..."},
                     {"source", MetricUnit::kNone, "source", "Where the figures come from"}});
  std::vector<std::int64_t> ranks(view.devices().size(), 0);
  for (int rank = 0; rank < view.ranks(); ++rank) ++ranks[static_cast<std::size_t>(view.device_index(RankId(rank)))];
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    const DeviceSpec& device = view.devices()[i];
    table.add_row({device.name, ranks[i], device.memory.count(), device.memory_bandwidth.value(),
                   device.peak(DType::kBf16).value(), device.peak(DType::kFp8).value(),
                   std::string(origin_name(device.provenance.origin)), device.provenance.source});
  }
  return table;
}

MetricTable tier_table(const ClusterView& view) {
  MetricTable table(
      {{"name", MetricUnit::kNone, "tier", "Level at which ranks meet, innermost first"},
       {"link", MetricUnit::kNone, "link", "Kind of link"},
       {"groups", MetricUnit::kNone, "groups", "Sets of ranks that meet here or further inside"},
       {"ports", MetricUnit::kNone, "ports", "Full-duplex ports into the tier"},
       {"slowest_port_bytes_per_s", MetricUnit::kBytesPerSecond, "slowest port", "Capacity per direction"},
       {"fastest_port_bytes_per_s", MetricUnit::kBytesPerSecond, "fastest port", "Capacity per direction"},
       {"latency_s", MetricUnit::kSeconds, "latency", "One way, hardware only"},
       {"origin", MetricUnit::kNone, "origin", "Datasheet, measured, ..."},
       {"source", MetricUnit::kNone, "source", "Where the figures come from"}});
  for (const Tier& tier : view.tiers()) {
    std::int64_t groups = 0;
    for (const std::int32_t group : tier.group_of_rank) groups = std::max<std::int64_t>(groups, group + 1);
    MetricValue slowest;
    MetricValue fastest;
    if (!tier.ports.empty()) {
      const auto [low, high] = std::minmax_element(tier.ports.begin(), tier.ports.end(),
                                                   [](const Port& a, const Port& b) { return a.out < b.out; });
      slowest = low->out.value();
      fastest = high->out.value();
    }
    table.add_row({tier.name, std::string(link_class_name(tier.link)), groups,
                   static_cast<std::int64_t>(tier.ports.size()), slowest, fastest, tier.latency.value(),
                   std::string(origin_name(tier.provenance.origin)), tier.provenance.source});
  }
  return table;
}

MetricTable finding_table(const std::vector<ClusterFinding>& findings) {
  MetricTable table({{"severity", MetricUnit::kNone, "severity",
                      "A note is true and easily overlooked; a warning is probably a mistake"},
                     {"what", MetricUnit::kNone, "finding", "What was noticed"},
                     {"hint", MetricUnit::kNone, "hint", "The way out"}});
  for (const ClusterFinding& finding : findings) {
    const RowTone tone = finding.severity == ClusterSeverity::kWarning ? RowTone::kBad : RowTone::kPlain;
    table.add_row({std::string(severity_name(finding.severity)), finding.what,
                   finding.hint.empty() ? MetricValue() : MetricValue(finding.hint)},
                  tone);
  }
  return table;
}

// Over which classes of links at once the ranks of the first node could split an all-reduce (models/cost/split_law.hpp).
constexpr Bytes kSplitExample{std::int64_t{256} << 20};

void add_split(Report& report, const ClusterSpec& spec, const ClusterView& view, const LinkPaths& links) {
  std::vector<RankId> ranks;
  for (int rank = 0; rank < view.ranks_per_node(); ++rank) ranks.emplace_back(rank);
  const CostModel costs = make_cost_model(view, {});
  const std::vector<SplitChannel> channels =
      split_channels(links, ranks, costs.parameters(view.device_index(RankId(0))));
  MetricTable table({{"link", MetricUnit::kNone, "link", "Narrowest on the way"},
                     {"bytes_per_s", MetricUnit::kBytesPerSecond, "rate", "Bytes of the buffer, all-reduced by a ring"},
                     {"start_s", MetricUnit::kSeconds, "start", "Of the operation and its hops"},
                     {"share", MetricUnit::kRatio, "share", "Of 256 MiB, so that all end together"},
                     {"speedup", MetricUnit::kFactor, "speed-up", "Of the split over this link alone"}});
  if (channels.size() > 1) {
    std::vector<SplitLink> ways;
    for (const SplitChannel& channel : channels) ways.push_back(channel.all_reduce);
    const Split split = best_split(ways, kSplitExample);
    for (std::size_t i = 0; i < channels.size(); ++i)
      table.add_row({std::string(link_class_name(channels[i].link)), ways[i].rate.value(), ways[i].start.value(),
                     split.shares[i], (ways[i].start + kSplitExample / ways[i].rate) / split.time});
  }
  report.add_rows("split",
                  fmt::format("An all-reduce of 256 MiB in one node of {}, split over its classes of links", spec.name),
                  std::move(table));
}

struct ShowClusterRequest {
  std::string source;
  int nodes = 0;
};

RunResult show_cluster(Session& session, const ShowClusterRequest& request) {
  MOESIM_TRY(session.check_output());
  MOESIM_ASSIGN(const ClusterSpec spec, load_cluster(request.source, request.nodes));
  MOESIM_ASSIGN(const ClusterView view, compile(spec));
  Report report = session.new_report();
  report.inputs.push_back(input_record("cluster", request.source));
  report.drawing.lines = draw(spec, view);
  report
      .add_record("cluster", "",
                  record_of({{{"name", MetricUnit::kNone, "cluster", "Name in its file"}, spec.name},
                             {{"nodes", MetricUnit::kNone, "nodes", "Hosts"}, std::int64_t{view.nodes()}},
                             {{"ranks", MetricUnit::kNone, "ranks", "Devices"}, std::int64_t{view.ranks()}},
                             {{"domain_ranks", MetricUnit::kNone, "domain", "Devices of rank 0's innermost domain"},
                              std::int64_t{view.domain_size(RankId(0))}}}))
      .shown = SectionShown::kMachinesOnly;
  report.add_rows("devices", "", device_table(view)).shown = SectionShown::kMachinesOnly;
  report.add_rows("tiers", "", tier_table(view)).shown = SectionShown::kMachinesOnly;
  MOESIM_ASSIGN(const LinkPaths links, compile_links(spec));
  add_split(report, spec, view, links);
  report.add_rows("findings", "Findings", finding_table(check_consistency(spec, view)));
  MOESIM_TRY(session.emit(report));
  return kExitOk;
}

RunResult list_clusters(Session& session) {
  MOESIM_TRY(session.check_output());
  MetricTable table(
      {{"name", MetricUnit::kNone, "name", "To be used as preset:NAME"},
       {"devices_per_node", MetricUnit::kNone, "devices", "Per node"},
       {"device", MetricUnit::kNone, "device", "Catalogue name"},
       {"device_memory_bytes", MetricUnit::kBytes, "memory", "Of one device"},
       {"scale_up_bytes_per_s", MetricUnit::kBytesPerSecond, "scale-up", "Per device and direction; none: PCIe only"},
       {"nic_bytes_per_s_per_node", MetricUnit::kBytesPerSecond, "NICs of a node", "All together, per direction"},
       {"description", MetricUnit::kNone, "description", "Name in its file"}});
  for (const std::string& name : preset_names()) {
    MOESIM_ASSIGN(const ClusterSpec spec, load_cluster("preset:" + name, 0));
    if (spec.groups.empty()) {
      table.add_row({name, {}, {}, {}, {}, {}, spec.name});
      continue;
    }
    const NodeSpec& node = spec.groups.front().node;
    table.add_row({name, std::int64_t{node.devices}, node.device.name, node.device.memory.count(),
                   node.scale_up ? MetricValue(node.scale_up->rate.out.value()) : MetricValue(),
                   node.nics ? MetricValue(node.nics->rate.out.value() * node.nics->count) : MetricValue(), spec.name});
  }
  Report report = session.new_report();
  report.add_rows("clusters", "", std::move(table));
  MOESIM_TRY(session.emit(report));
  return kExitOk;
}

}  // namespace

void add_cluster(CLI::App& app, Session& session) {
  CLI::App* cluster = app.add_subcommand("cluster", "What a cluster is made of, and which ones are built in");
  cluster->require_subcommand(1);

  CLI::App* show = cluster->add_subcommand("show", "Draws the tiers of a cluster and checks its description");
  show->footer("moesim cluster show preset:h100 --nodes 8\nmoesim cluster show mine.json --json");
  auto request = std::make_shared<ShowClusterRequest>();
  add_cluster_source(*show, session, "cluster", request->source)->required();
  add_nodes(*show, request->nodes);
  session.add_output_options(*show);
  session.run_when_chosen(*show, [&session, request] { return show_cluster(session, *request); });

  CLI::App* list = cluster->add_subcommand("list", "The presets");
  list->footer("moesim cluster list");
  session.add_output_options(*list);
  session.run_when_chosen(*list, [&session] { return list_clusters(session); });
}

}  // namespace moesim
