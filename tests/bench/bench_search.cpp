// The search on its hardest question: DeepSeek-V3 on 2048 H800, with a trace of its 58 MoE layers.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <optional>
#include <thread>

#include "calibration/profile.hpp"
#include "models/cluster/cluster_source.hpp"
#include "models/shape/model_source.hpp"
#include "sim/pipeline/schedules.hpp"
#include "sim/search/candidates.hpp"
#include "sim/search/search.hpp"
#include "sim/simulate/timeline.hpp"
#include "traces/synthesize.hpp"

namespace moesim {
namespace {

struct Question {
  ModelShape model = load_model("zoo:deepseek-v3").value().shape;
  ClusterView view = compile(load_cluster("preset:h800", 256).value()).value();
  CostModel costs = make_cost_model(view);
  SearchSpace space;
  LoadMapper trace = LoadMapper::create(made_up_trace(), -1).value();

  Question() : space(default_space(model, view, 4096, 15360)) { space.precision = "fp8"; }

  static SelectionTrace made_up_trace() {
    SynthesisRequest request;
    request.layers = 58;
    request.experts = 256;
    request.top_k = 8;
    request.source_ranks = 8;
    request.steps = 4;
    return synthesize_trace(request).value();
  }
};

const Question& question() {
  static const Question asked;
  return asked;
}

int threads() { return static_cast<int>(std::max(1U, std::thread::hardware_concurrency())); }

void rank(benchmark::State& state, const LoadMapper* trace) {
  const Question& q = question();
  SearchOptions options;
  options.threads = threads();
  for (auto _ : state) {
    const auto result = rank_plans(q.model, q.costs, trace, q.space, options);
    state.counters["plans"] = static_cast<double>(result.value().certificate.considered);
    state.counters["bounded"] = static_cast<double>(result.value().certificate.bounded);
    state.counters["replayed"] = static_cast<double>(result.value().certificate.replayed);
    state.counters["proven"] = result.value().certificate.proven ? 1 : 0;
  }
}

void BM_RankBalanced(benchmark::State& state) { rank(state, nullptr); }
BENCHMARK(BM_RankBalanced)->Unit(benchmark::kSecond)->MeasureProcessCPUTime()->UseRealTime()->Iterations(1);

void BM_RankWithTrace(benchmark::State& state) { rank(state, &question().trace); }
BENCHMARK(BM_RankWithTrace)->Unit(benchmark::kSecond)->MeasureProcessCPUTime()->UseRealTime()->Iterations(1);

// The `bound` regime alone: layers are priced beforehand; every plan of every cell gets its memory and its time bound.
void BM_Bound(benchmark::State& state) {
  const Question& q = question();
  std::vector<ScheduleChoice> schedules;
  for (const PipelineSchedule* schedule : pipeline_schedules())
    schedules.push_back({schedule, schedule->chunks_per_stage(2)});
  CandidateMaker maker(q.model, q.costs, nullptr, q.space, schedules);
  Certificate certificate;
  const std::vector<Cell> cells = enumerate_cells(q.model, q.space, q.view, 1, certificate)->cells;
  const CandidateMaker::Need need = maker.table_needs(cells);
  std::vector<std::optional<LayerTable>> tables(need.tables.size());
  for (std::size_t group = 0; group < need.groups.size(); ++group)
    if (!maker.make_tables(need, group, tables)) return state.SkipWithError("layers could not be priced");
  std::int64_t bounded = 0;
  std::int64_t too_large = 0;
  for (auto _ : state) {
    for (std::size_t i = 0; i < cells.size(); ++i) {
      const auto table = static_cast<std::size_t>(need.of_cell[i]);
      const auto result = maker.bound_cell(cells[i], static_cast<std::int32_t>(i), *tables[table]);
      bounded += static_cast<std::int64_t>(result.candidates.size());
      too_large += result.too_large;
    }
  }
  state.counters["bounded/s"] = benchmark::Counter(static_cast<double>(bounded), benchmark::Counter::kIsRate);
  state.counters["plans/s"] = benchmark::Counter(static_cast<double>(bounded + too_large), benchmark::Counter::kIsRate);
}
BENCHMARK(BM_Bound)->Unit(benchmark::kMillisecond);

Plan dual_pipe_plan() {
  Plan plan;
  plan.layout.sizes = {.tp = 2, .cp = 1, .pp = 16, .vpp = 2, .dp = 64, .ep = 16, .esp = 1, .edp = 8};
  plan.pipeline = "dualpipev";
  plan.recompute = Recompute::kSelective;
  plan.zero_dense = plan.zero_expert = ZeroStage::kOptimizer;
  plan.seq_length = 4096;
  plan.global_batch = 15360;
  plan.precision = "fp8";
  return plan;
}

// One whole step, replayed: without its timeline, and with the timeline written.
void BM_Step(benchmark::State& state) {
  const Question& q = question();
  const bool timeline = state.range(0) != 0;
  StepOptions options;
  options.replay.record_intervals = timeline;
  for (auto _ : state) {
    const auto step = simulate_step(dual_pipe_plan(), q.model, q.costs, &q.trace, options);
    if (!step) return state.SkipWithError(step.error().what.c_str());
    state.counters["events"] = static_cast<double>(step->replay.events);
    if (!timeline) continue;
    const auto written = write_timeline(*step, {"/tmp/moesim_bench_timeline.json.gz", {}});
    if (!written) return state.SkipWithError(written.error().what.c_str());
    state.counters["slices"] = static_cast<double>(written->slices);
  }
}
BENCHMARK(BM_Step)->ArgName("timeline")->Arg(0)->Arg(1)->Unit(benchmark::kSecond)->Iterations(1);

}  // namespace
}  // namespace moesim
