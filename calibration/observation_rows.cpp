// Observations as questions to the cost laws.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "calibration/profile_fit.hpp"
#include "models/cost/law_parameters.hpp"

namespace moesim {
namespace {

using Predict = std::function<double(const CostModel& model)>;

struct Question {
  std::string law;
  Predict predict;
  std::string skipped;
  std::optional<GroupShape> group;
};

using Topology = std::shared_ptr<const GroupTopology>;

// Buffers are cut evenly: one unit of size / n bytes for each member.
CommCost collective_cost(const CostModel& model, const CollectiveWork& work, const GroupTopology& group) {
  if (work.exchange == ExchangeAlgorithm::kLinear) return model.collective(work.kind, group, work.size, work.algorithm);
  const auto n = static_cast<std::size_t>(group.size());
  const std::vector<std::int64_t> one_to_each(n * n, 1);
  const ExchangeWork exchange = model.exchange_work(work.exchange, group, {one_to_each, group.size()});
  return model.exchange(group, exchange, Bytes(work.size.count() / group.size()));
}

std::string law_of(const CollectiveWork& work) {
  std::string law(collective_name(work.kind));
  if (work.exchange != ExchangeAlgorithm::kLinear) law += fmt::format("_{}", exchange_algorithm_name(work.exchange));
  return law;
}

// Two operations that start together slow down where they share a port, as the engine lets them; the rest of the longer one
// then runs alone. Shares (0.8, 0.7), 10 and 20 ms: together at 1/1.5 for 15 ms, then 10 ms.
double together(const CommCost& a, const CommCost& b) {
  double pressure = 1;
  for (std::size_t t = 0; t < a.port_share.size(); ++t)
    pressure = std::max(pressure, static_cast<double>(a.port_share[t]) + static_cast<double>(b.port_share[t]));
  const double shorter = std::min(a.time, b.time).value();
  return shorter * pressure + std::max(a.time, b.time).value() - shorter;
}

class Asker {
 public:
  Asker(const std::shared_ptr<const ClusterView>& view, std::vector<RankId> ranks)
      : view_(view), ranks_(std::move(ranks)) {}

  Question operator()(const GemmWork& work) const {
    return {"gemm", [work](const CostModel& model) { return model.gemm(0, work).time.value(); }, {}, {}};
  }
  Question operator()(const GroupedRows& work) const {
    return {"grouped_gemm",
            [work](const CostModel& model) { return model.grouped_gemm(0, work.work()).time.value(); },
            {},
            {}};
  }
  Question operator()(const AttentionWork& work) const {
    return {work.backward ? "attention_backward" : "attention_forward",
            [work](const CostModel& model) { return model.attention(0, work).time.value(); },
            {},
            {}};
  }
  Question operator()(const MemoryWork& work) const {
    return {std::string(memory_kernel_name(work.kernel)),
            [work](const CostModel& model) { return model.memory_bound(0, work).time.value(); },
            {},
            {}};
  }
  Question operator()(const LaunchWork&) const {
    return {"launch", [](const CostModel& model) { return model.parameters(0).launch.issue_interval.value(); }, {}, {}};
  }
  Question operator()(const OperationWork&) const {
    return {"operation", [](const CostModel& model) { return model.parameters(0).launch.operation.value(); }, {}, {}};
  }
  Question operator()(const CollectiveWork& work) {
    const Topology group = topology(work);
    return {law_of(work),
            [work, group](const CostModel& model) { return collective_cost(model, work, *group).time.value(); },
            {},
            group->shape()};
  }
  Question operator()(const OverlapWork& work) {
    std::vector<Topology> groups;
    for (const CollectiveWork& collective : work.collectives) groups.push_back(topology(collective));
    Question question{.law = "overlap", .predict = {}, .skipped = {}, .group = {}};
    if (work.measured == OverlapMeasured::kCompute && !work.collectives.empty() && work.collective_rounds == 0)
      question.skipped = "it does not tell how many collectives ran beside the computation";
    else if (work.measured == OverlapMeasured::kCompute && work.compute)
      question.predict = [work, groups](const CostModel& model) {
        double seconds = model.gemm(0, *work.compute).time.value() * work.compute_repeats;
        for (std::size_t i = 0; i < groups.size(); ++i)
          seconds += model.parameters(0).overlap.units_held * work.collective_rounds *
                     collective_cost(model, work.collectives[i], *groups[i]).time.value();
        return seconds;
      };
    else if (work.collectives.size() == 1)
      question.predict = [work, groups](const CostModel& model) {
        return collective_cost(model, work.collectives[0], *groups[0]).time.value();
      };
    else if (work.collectives.size() == 2)
      question.predict = [work, groups](const CostModel& model) {
        return together(collective_cost(model, work.collectives[0], *groups[0]),
                        collective_cost(model, work.collectives[1], *groups[1]));
      };
    else
      question.skipped = "nothing was measured together";
    return question;
  }

 private:
  Topology topology(const CollectiveWork& work) {
    std::vector<RankId> members;
    for (const RankId rank : work.groups.front()) members.push_back(ranks_[rank.index()]);
    Topology& known = topologies_[members];
    if (!known) known = std::make_shared<const GroupTopology>(*view_, members);
    return known;
  }

  std::shared_ptr<const ClusterView> view_;
  std::vector<RankId> ranks_;
  std::map<std::vector<RankId>, Topology> topologies_;
};

std::size_t ranks_named(const Observations& file) {
  std::size_t ranks = file.hosts.size();
  const auto look = [&](const CollectiveWork& work) {
    for (const std::vector<RankId>& group : work.groups)
      for (const RankId rank : group) ranks = std::max(ranks, rank.index() + 1);
  };
  for (const Observation& row : file.rows) {
    if (const auto* collective = std::get_if<CollectiveWork>(&row.work)) look(*collective);
    if (const auto* overlap = std::get_if<OverlapWork>(&row.work))
      for (const CollectiveWork& collective : overlap->collectives) look(collective);
  }
  return ranks;
}

}  // namespace

Result<std::vector<RankId>> place_ranks(const std::vector<std::string>& hosts, std::size_t ranks,
                                        const ClusterView& view, const std::string& source) {
  const auto too_small = [&](std::string what) {
    return invalid_input(fmt::format("{}: {}", source, what), {},
                         "name with --cluster the machines that were measured, and with --nodes how many");
  };
  std::vector<RankId> placed;
  if (hosts.empty()) {
    if (static_cast<int>(ranks) > view.ranks())
      return too_small(fmt::format("{} ranks were measured, the cluster has {}", ranks, view.ranks()));
    for (std::size_t rank = 0; rank < ranks; ++rank) placed.emplace_back(static_cast<std::int32_t>(rank));
    return placed;
  }
  std::map<std::int32_t, std::vector<RankId>> on_node;
  for (int rank = 0; rank < view.ranks(); ++rank) on_node[view.node(RankId(rank)).value()].emplace_back(rank);
  std::map<std::string, std::int32_t> node_of_host;
  std::map<std::string, std::size_t> used;
  for (const std::string& host : hosts) {
    const auto next_node = static_cast<std::int32_t>(node_of_host.size());
    const std::int32_t node = node_of_host.emplace(host, next_node).first->second;
    const std::size_t local = used[host]++;
    if (!on_node.contains(node))
      return too_small(fmt::format("{} hosts or more were measured, the cluster has {} nodes", node + 1, view.nodes()));
    if (local >= on_node[node].size())
      return too_small(fmt::format("more than {} ranks were measured on a host, as many as a node of the cluster has",
                                   on_node[node].size()));
    placed.push_back(on_node[node][local]);
  }
  return placed;
}

Result<std::vector<Measurement>> measurements_of(const Observations& file,
                                                 const std::shared_ptr<const ClusterView>& view) {
  MOESIM_ASSIGN(std::vector<RankId> ranks, place_ranks(file.hosts, ranks_named(file), *view, file.source));
  Asker asker(view, std::move(ranks));
  std::vector<Measurement> rows;
  for (const Observation& observation : file.rows) {
    Question question = std::visit([&](const auto& work) { return asker(work); }, observation.work);
    Measurement& row = rows.emplace_back();
    row.id = observation.name;
    row.source = file.source;
    row.law = std::move(question.law);
    row.metric = "time_s";
    row.measured = observation.seconds;
    row.skipped = std::move(question.skipped);
    row.group = question.group;
    row.view = view;
    row.predict = std::move(question.predict);
  }
  return rows;
}

}  // namespace moesim
