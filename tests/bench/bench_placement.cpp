// Placement policies: playing a whole recording, one decision of each at 64 to 1024 devices beside the layer it is about, and the
// candidates of the local search. The recording is that of the SmartMoE artifact, beside the checkout.
#include <benchmark/benchmark.h>

#include <optional>
#include <string>

#include "models/cluster/cluster_source.hpp"
#include "models/cluster/topology.hpp"
#include "sim/placement/co_activation.hpp"
#include "sim/placement/greedy_placement.hpp"
#include "sim/placement/incremental_time.hpp"
#include "sim/placement/layer_laws.hpp"
#include "sim/placement/replay.hpp"
#include "traces/import.hpp"
#include "traces/random.hpp"

namespace moesim {
namespace {

struct PricedCluster {
  ClusterView view;
  CostModel costs;
  explicit PricedCluster(ClusterView compiled) : view(std::move(compiled)), costs(view) {}
};

std::unique_ptr<PricedCluster> a100_cluster(int nodes) {
  const Result<ClusterSpec> spec = load_cluster("preset:a100", nodes);
  MOESIM_ASSERT(spec.has_value());
  Result<ClusterView> view = compile(*spec);
  MOESIM_ASSERT(view.has_value());
  return std::make_unique<PricedCluster>(std::move(*view));
}

LayerTimeModel layer_model(const PricedCluster& cluster, int devices, int experts, std::int64_t hidden) {
  std::vector<RankId> ranks;
  for (int i = 0; i < devices; ++i) ranks.emplace_back(i);
  LayerLawRequest request;
  request.hidden = hidden;
  request.moe.experts = experts;
  request.moe.top_k = 2;
  request.moe.expert = {.width = 2 * hidden, .gated = false};
  const Result<PrecisionRecipe> precision = find_precision("bf16");
  MOESIM_ASSERT(precision.has_value());
  request.precision = *precision;
  request.largest_rows = std::int64_t{4096} * devices;
  Result<LayerTimeModel> model = layer_time_model(cluster.costs, ranks, request);
  MOESIM_ASSERT(model.has_value());
  return std::move(*model);
}

const ReplayTrace* smartmoe_recording() {
  static const std::optional<ReplayTrace> kTrace = []() -> std::optional<ReplayTrace> {
    const Result<LoadedTrace> loaded =
        load_trace(std::string(MOESIM_SHARED_DIR) + "/data/traces/smartmoe-ae/smartmoe_trace.tar.zst");
    if (!loaded) return std::nullopt;
    Result<ReplayTrace> mapped = ReplayTrace::map(loaded->trace, {.devices = 16, .top_k = 2});
    MOESIM_ASSERT(mapped.has_value());
    return std::move(*mapped);
  }();
  return kTrace ? &*kTrace : nullptr;
}

// 501 records x 24 layers x 4 micro-batches x 16 sources; the argument is the period.
void replay_recording(benchmark::State& state, const PlacementPolicy* policy) {
  const ReplayTrace* trace = smartmoe_recording();
  if (trace == nullptr) {
    state.SkipWithError("the recording is not beside the checkout");
    return;
  }
  const auto cluster = a100_cluster(2);
  const LayerTimeModel model = layer_model(*cluster, 16, 32, 1536);
  PlacementReplayOptions options;
  options.period = state.range(0);
  options.spare_slots = 1;
  PolicyReplay result;
  for (auto _ : state) result = replay_policy(*trace, model, *policy, options);
  state.counters["iteration_ms"] = result.mean_iteration.value() * 1e3;
}

void replay_oracle(benchmark::State& state) {
  const ReplayTrace* trace = smartmoe_recording();
  if (trace == nullptr) {
    state.SkipWithError("the recording is not beside the checkout");
    return;
  }
  const auto cluster = a100_cluster(2);
  const LayerTimeModel model = layer_model(*cluster, 16, 32, 1536);
  PlacementReplayOptions options;
  options.spare_slots = 1;
  for (auto _ : state) benchmark::DoNotOptimize(replay_bounds(*trace, model, options).mean_oracle);
}

// A made-up layer with as many experts as four a device, skewed.
std::vector<double> skewed_counts(int devices, int experts) {
  Pcg32 random(7);
  std::vector<double> popularity;
  double sum = 0;
  for (int e = 0; e < experts; ++e) popularity.push_back(random.gamma(0.5)), sum += popularity.back();
  std::vector<double> counts;
  for (int d = 0; d < devices; ++d)
    for (const double p : popularity) counts.push_back(8192 * p / sum * (0.9 + 0.2 * random.uniform()));
  return counts;
}

constexpr int kExpertsPerDevice = 4;

// One decision about one layer; `layer_ms` is what the layer takes before it, forward and backward.
void decide(benchmark::State& state, const PlacementPolicy* policy) {
  const auto devices = static_cast<int>(state.range(0));
  const int experts = kExpertsPerDevice * devices;
  const auto cluster = a100_cluster(devices / 8);
  const LayerTimeModel model = layer_model(*cluster, devices, experts, 2048);
  const std::vector<double> counts = skewed_counts(devices, experts);
  const PlacementDecision current{
      ExpertPlacement::contiguous({devices, experts, kExpertsPerDevice + 1}), {}, TokenSplit::kLocality};
  const PredictedCounts predicted{counts, devices, experts};
  PlacementDecision proposal = current;
  for (auto _ : state) proposal = policy->propose({model, predicted, current, 1, 0});
  LayerTimer timer(model);
  state.counters["layer_ms"] = timer.time(predicted, current).total().value() * 1e3;
  state.counters["after_ms"] = timer.time(predicted, proposal).total().value() * 1e3;
}

void local_search_candidates(benchmark::State& state) {
  const auto devices = static_cast<int>(state.range(0));
  const int experts = kExpertsPerDevice * devices;
  const auto cluster = a100_cluster(devices / 8);
  const LayerTimeModel model = layer_model(*cluster, devices, experts, 2048);
  const std::vector<double> counts = skewed_counts(devices, experts);
  IncrementalLayerTime layer(model, {counts, devices, experts},
                             ExpertPlacement::contiguous({devices, experts, kExpertsPerDevice}));
  Pcg32 random(3);
  const auto slots = static_cast<std::uint32_t>(experts);
  for (auto _ : state) {
    layer.swap(static_cast<int>(random.below(slots)), static_cast<int>(random.below(slots)));
    benchmark::DoNotOptimize(layer.time());
  }
  state.counters["candidates"] =
      benchmark::Counter(static_cast<double>(state.iterations()), benchmark::Counter::kIsRate);
}

// The search by token rows, 64 devices of four experts, top-8: 1000 swaps tried, each followed through 4096 rows that come in eight
// domains with favourites of their own.
void co_activation_candidates(benchmark::State& state) {
  const auto devices = static_cast<int>(state.range(0));
  const int experts = kExpertsPerDevice * devices;
  const auto cluster = a100_cluster(devices / 8);
  const LayerTimeModel model = layer_model(*cluster, devices, experts, 2048);
  const std::vector<double> counts = skewed_counts(devices, experts);
  Pcg32 random(5);
  TokenSet tokens;
  tokens.top_k = 8;
  for (std::int32_t token = 0; token < 4096; ++token) {
    const std::uint32_t domain = random.below(8);
    for (int i = 0; i < tokens.top_k; ++i) {
      const bool favourite = random.below(2) == 0;
      const auto all = static_cast<std::uint32_t>(experts);
      tokens.experts.push_back(
          static_cast<std::int32_t>(favourite ? random.below(all / 8) * 8 + domain : random.below(all)));
    }
    tokens.sources.push_back(token % devices);
  }
  tokens.seen = static_cast<std::int64_t>(tokens.size());
  const ExpertPlacement start = ExpertPlacement::contiguous({devices, experts, kExpertsPerDevice});
  constexpr std::int64_t kSwaps = 1000;
  for (auto _ : state)
    benchmark::DoNotOptimize(
        search_co_activation(model, {counts, devices, experts}, tokens, start, {.candidates = kSwaps}).time);
  state.counters["candidates"] =
      benchmark::Counter(static_cast<double>(state.iterations() * kSwaps), benchmark::Counter::kIsRate);
}

const bool kRegistered = [] {
  for (const PlacementPolicy* policy : placement_policies()) {
    if (policy->needs_tokens()) continue;  // these counts have none
    const std::string name(policy->name());
    benchmark::RegisterBenchmark(("replay/" + name).c_str(), replay_recording, policy)
        ->Arg(10)
        ->Arg(100)
        ->Unit(benchmark::kMillisecond);
    benchmark::RegisterBenchmark(("decide/" + name).c_str(), decide, policy)
        ->Arg(64)
        ->Arg(256)
        ->Arg(1024)
        ->Unit(benchmark::kMillisecond);
  }
  benchmark::RegisterBenchmark("replay/oracle", replay_oracle)->Unit(benchmark::kMillisecond);
  benchmark::RegisterBenchmark("candidates", local_search_candidates)->Arg(64)->Arg(256);
  benchmark::RegisterBenchmark("candidates/co-activation", co_activation_candidates)->Arg(64)->Arg(256);
  return true;
}();

}  // namespace
}  // namespace moesim
