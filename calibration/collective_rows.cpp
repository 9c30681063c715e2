// collectives.csv: nccl-tests style times, and MoE dispatch and combine.
#include <fmt/format.h>

#include <array>
#include <utility>
#include <vector>

#include "base/text.hpp"
#include "calibration/measurement_rows.hpp"

namespace moesim {
namespace {

// A reduction to one rank is a broadcast run backwards.
constexpr std::array<std::pair<std::string_view, CollectiveKind>, 10> kOperations = {
    {{"all_reduce", CollectiveKind::kAllReduce},
     {"all_gather", CollectiveKind::kAllGather},
     {"reduce_scatter", CollectiveKind::kReduceScatter},
     {"alltoall", CollectiveKind::kAllToAll},
     {"all_to_all", CollectiveKind::kAllToAll},
     {"broadcast", CollectiveKind::kBroadcast},
     {"reduce", CollectiveKind::kBroadcast},
     {"sendrecv", CollectiveKind::kSendRecv},
     {"moe_dispatch", CollectiveKind::kAllToAll},
     {"moe_combine", CollectiveKind::kAllToAll}}};

std::string why_not(const CsvReader& reader, bool has_size, bool has_time) {
  if (mentions(reader.text("algo_or_impl"), "tcp socket")) return "TCP sockets without a network plugin";
  if (!has_size) return "logical bandwidth of deduplicated traffic, no size";
  if (!has_time) return "no time given";
  return {};
}

// NCCL reduces in the switch only where the row says so; a slice of a node often cannot.
CollectiveAlgorithm row_algorithm(const CsvReader& reader) {
  const std::string_view implementation = reader.text("algo_or_impl");
  if (mentions(implementation, "nvls") || mentions(reader.text("intra_link"), "nvls"))
    return CollectiveAlgorithm::kAuto;
  if (mentions(implementation, "tree")) return CollectiveAlgorithm::kTree;
  if (mentions(implementation, "ring")) return CollectiveAlgorithm::kRing;
  const bool one_node = reader.text("n_nodes") == "1";
  return one_node && reader.text("op") == "all_reduce" ? CollectiveAlgorithm::kRing : CollectiveAlgorithm::kAuto;
}

}  // namespace

Result<Measurement> read_collective_row(const CsvReader& reader, MeasuredClusters& clusters) {
  Measurement row = common_fields(reader);
  MOESIM_ASSIGN(const std::optional<double> time, reader.number("time_us"));
  MOESIM_ASSIGN(const std::optional<std::int64_t> size, reader.integer("size_bytes"));
  MOESIM_ASSIGN(const std::optional<std::int64_t> gpus, reader.integer("n_gpus"));
  MOESIM_ASSIGN(const std::optional<std::int64_t> nodes, reader.integer("n_nodes"));
  row.law = reader.text("op");
  row.measured = time.value_or(0) * 1e-6;
  const auto* operation = kOperations.begin();
  while (operation != kOperations.end() && operation->first != row.law) ++operation;
  if (operation == kOperations.end()) {
    row.skipped = fmt::format("operation '{}' has no law", row.law);
    return row;
  }
  row.skipped = why_not(reader, size.value_or(0) > 0, row.measured > 0);
  if (!row.skipped.empty()) return row;
  const std::int64_t ranks = gpus.value_or(0);
  const std::int64_t hosts = nodes.value_or(1);
  if (ranks < 2 || ranks > 65536 || hosts < 1 || hosts > ranks) {
    row.skipped = "no group of GPUs given";
    return row;
  }
  const bool slingshot = mentions(reader.text("inter_link"), "slingshot");
  row.view = clusters.find(row.hardware, slingshot ? "slingshot" : "", static_cast<int>(hosts), row.skipped);
  if (!row.view) return row;
  const std::int64_t per_node = ranks / hosts;
  if (per_node > row.view->ranks_per_node()) {
    row.skipped = fmt::format("{} GPUs per node, the preset has {}", per_node, row.view->ranks_per_node());
    return row;
  }
  std::vector<RankId> members;
  for (std::int64_t node = 0; node < hosts; ++node)
    for (std::int64_t i = 0; i < per_node; ++i)
      members.emplace_back(static_cast<std::int32_t>(node * row.view->ranks_per_node() + i));
  const auto group = std::make_shared<const GroupTopology>(*row.view, members);
  row.predict = [kind = operation->second, algorithm = row_algorithm(reader), bytes = Bytes(*size), group,
                 view = row.view](const CostModel& model) {
    return model.collective(kind, *group, bytes, algorithm).time.value();
  };
  return row;
}

}  // namespace moesim
