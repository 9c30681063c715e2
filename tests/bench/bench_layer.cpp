// One MoE layer, and the published grids of them, on one core.
#include <benchmark/benchmark.h>

#include <memory>
#include <string>
#include <vector>

#include "calibration/profile.hpp"
#include "models/cluster/cluster_source.hpp"
#include "sim/layer/compare_layers.hpp"
#include "sim/layer/play_grid.hpp"
#include "sim/memory/memory_walk.hpp"

namespace moesim {
namespace {

struct GridQuestion {
  LayerGrid grid;
  std::vector<std::unique_ptr<const ClusterView>> views;
  std::vector<std::unique_ptr<const CostModel>> costs;
  std::vector<const CostModel*> models;

  explicit GridQuestion(const std::string& name) : grid(load_grid(name).value()) {
    std::vector<Profile> profiles;
    for (const EmbeddedFile& file : published_profile_files())
      profiles.push_back(parse_profile(file.content, std::string(file.name)).value());
    for (const GridCluster& cluster : grid.clusters) {
      views.push_back(
          std::make_unique<const ClusterView>(compile(load_cluster(cluster.cluster, cluster.nodes).value()).value()));
      costs.push_back(std::make_unique<const CostModel>(make_cost_model(*views.back(), profiles)));
      models.push_back(costs.back().get());
    }
  }
};

void play(benchmark::State& state, const std::string& name) {
  const GridQuestion question(name);
  std::int64_t timed = 0;
  for (auto _ : state) {
    const auto times = play_grid(question.grid, question.models, moe_schedules(), {}, 1);
    if (!times) return state.SkipWithError(times.error().what.c_str());
    timed = 0;
    for (const GridOutcome outcome : times->outcomes) timed += outcome == GridOutcome::kTimed ? 1 : 0;
  }
  state.counters["layers"] = static_cast<double>(question.grid.size());
  state.counters["schedules"] = static_cast<double>(moe_schedules().size());
  state.counters["timed"] = static_cast<double>(timed);
  state.counters["timed/s"] =
      benchmark::Counter(static_cast<double>(timed), benchmark::Counter::kIsIterationInvariantRate);
}

void BM_Parm1296(benchmark::State& state) { play(state, "builtin:parm-1296"); }
BENCHMARK(BM_Parm1296)->Unit(benchmark::kMillisecond);
void BM_FsMoe1458(benchmark::State& state) { play(state, "builtin:fsmoe-1458"); }
BENCHMARK(BM_FsMoe1458)->Unit(benchmark::kMillisecond);
void BM_ScheMoe675(benchmark::State& state) { play(state, "builtin:schemoe"); }
BENCHMARK(BM_ScheMoe675)->Unit(benchmark::kMillisecond);

// The parts of one layer under one schedule: case, lowering, memory walk, price and replay.
enum class LayerPart { kCase, kLower, kMemory, kTime };

void part(benchmark::State& state, LayerPart which) {
  const GridQuestion question("builtin:fsmoe-1458");
  Plan plan;
  plan.layout.sizes = {.tp = 4, .dp = 8, .ep = 8, .esp = 4};
  plan.micro_batch = 4;
  plan.seq_length = 1024;
  plan.precision = "fp32";
  plan.capacity_factor = 1.2;
  plan.pad_to_capacity = true;
  const auto layout = std::make_shared<const Layout>(Layout::make(plan.layout, 32).value());
  const MoeShape moe{.experts = 8, .top_k = 2, .expert = {.width = 4096, .gated = false}, .shared = {}};
  const auto make = [&] { return make_layer_case(one_layer_model(1024, moe), plan, {}, layout).value(); };
  const LayerCase layer = make();
  const Program program = lower_layer(layer, "parm-s1", {}).value();
  for (auto _ : state) {
    if (which == LayerPart::kCase) benchmark::DoNotOptimize(make());
    if (which == LayerPart::kLower) benchmark::DoNotOptimize(lower_layer(layer, "parm-s1", {}));
    if (which == LayerPart::kMemory) benchmark::DoNotOptimize(walk_memory(program));
    if (which == LayerPart::kTime) benchmark::DoNotOptimize(time_layer(program, *question.models.front()));
  }
}
void BM_Case(benchmark::State& state) { part(state, LayerPart::kCase); }
BENCHMARK(BM_Case)->Unit(benchmark::kMicrosecond);
void BM_Lower(benchmark::State& state) { part(state, LayerPart::kLower); }
BENCHMARK(BM_Lower)->Unit(benchmark::kMicrosecond);
void BM_MemoryWalk(benchmark::State& state) { part(state, LayerPart::kMemory); }
BENCHMARK(BM_MemoryWalk)->Unit(benchmark::kMicrosecond);
void BM_PriceAndReplay(benchmark::State& state) { part(state, LayerPart::kTime); }
BENCHMARK(BM_PriceAndReplay)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace moesim
