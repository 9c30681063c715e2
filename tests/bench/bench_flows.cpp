// The flows regime: one all-to-all as flows over the links of a cluster, with everything that an answer needs (bytes to flows, batches
// by colour, the play).
#include <benchmark/benchmark.h>

#include <random>
#include <vector>

#include "base/json_reader.hpp"
#include "models/cluster/cluster_reader.hpp"
#include "models/cluster/cluster_source.hpp"
#include "models/cluster/link_paths.hpp"
#include "models/cost/flows/cluster_flows.hpp"

namespace moesim {
namespace {

struct FlowCluster {
  ClusterView view;
  LinkPaths links;
};

FlowCluster star_of(int ranks) {
  const std::string text = R"({"name": "star", "nodes": )" + std::to_string(ranks) + R"(,
    "node": {"device": "H100", "devices": 1, "nics": {"count": 1, "bandwidth": "50GB/s", "latency": "0.5us"}},
    "network": [{"name": "switch", "latency": "0us"}]})";
  const JsonDocument document = JsonDocument::parse_text(text, "star.json").value();
  const ClusterSpec spec = read_cluster(document.root(), 0).value();
  return {compile(spec).value(), compile_links(spec).value()};
}

FlowCluster preset_of(int nodes) {
  const ClusterSpec spec = load_cluster("preset:h100", nodes).value();
  return {compile(spec).value(), compile_links(spec).value()};
}

void play_exchange(benchmark::State& state, const FlowCluster& cluster, const std::vector<std::int64_t>& bytes) {
  std::vector<RankId> ranks;
  for (int rank = 0; rank < cluster.view.ranks(); ++rank) ranks.emplace_back(rank);
  ClusterFlows::Outcome outcome;
  for (auto _ : state) {
    ClusterFlows flows(cluster.view, cluster.links);
    flows.add_exchange(ranks, {bytes, cluster.view.ranks()}, Seconds(0));
    outcome = flows.play();
  }
  state.counters["flows"] = static_cast<double>(outcome.flows);
  state.counters["batches"] = outcome.batches;
  state.counters["events"] = static_cast<double>(outcome.events);
  state.counters["simulated ms"] = outcome.end.value() * 1e3;
}

std::vector<std::int64_t> even(int ranks) {
  return std::vector<std::int64_t>(static_cast<std::size_t>(ranks) * static_cast<std::size_t>(ranks),
                                   (std::int64_t{64} << 20) / ranks);
}

// A few hot receivers: what a gate that favours some experts sends.
std::vector<std::int64_t> skewed(int ranks) {
  std::mt19937 random(1);
  std::vector<std::int64_t> bytes;
  for (int from = 0; from < ranks; ++from)
    for (int to = 0; to < ranks; ++to)
      bytes.push_back(static_cast<std::int64_t>(random() % (to % 8 == 0 ? 400'000 : 100'000)));
  return bytes;
}

void BM_FlowsStar(benchmark::State& state) {
  const auto ranks = static_cast<int>(state.range(0));
  play_exchange(state, star_of(ranks), even(ranks));
}
void BM_FlowsH100(benchmark::State& state) {
  const auto ranks = static_cast<int>(state.range(0));
  play_exchange(state, preset_of(ranks / 8), even(ranks));
}
void BM_FlowsH100Skewed(benchmark::State& state) {
  const auto ranks = static_cast<int>(state.range(0));
  play_exchange(state, preset_of(ranks / 8), skewed(ranks));
}
BENCHMARK(BM_FlowsStar)->Arg(64)->Arg(256)->Arg(1024)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_FlowsH100)->Arg(64)->Arg(256)->Arg(1024)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_FlowsH100Skewed)->Arg(16)->Arg(32)->Arg(64)->Arg(128)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace moesim
