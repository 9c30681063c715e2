// The engine's speed. An event is the end of one operation on one entity; the counters say how many a second.
#include <benchmark/benchmark.h>
#include <vector>

#include "pipeline_program.hpp"
#include "sim/engine/event_queue.hpp"
#include "sim/engine/message_level.hpp"
#include "sim/engine/replay.hpp"

namespace moesim {
namespace {

void replay_pipeline(benchmark::State& state, const ReplayOptions& options) {
  const auto entities = static_cast<int>(state.range(0));
  const ReplayProgram program = bench::pipeline_program({.stages = 8, .ranks_per_stage = entities / 8});
  std::uint64_t events = 0;
  std::uint64_t queue_events = 0;
  for (auto _ : state) {
    const ReplayResult result = replay(program, options);
    if (!result.finished) state.SkipWithError(result.waiting.front().reason.c_str());
    events = result.events;
    queue_events = result.queue_events;
  }
  state.counters["events"] = static_cast<double>(events);
  state.counters["queued"] = static_cast<double>(queue_events);
  state.counters["events/s"] =
      benchmark::Counter(static_cast<double>(events), benchmark::Counter::kIsIterationInvariantRate);
}

void BM_ReplayAlone(benchmark::State& state) { replay_pipeline(state, {.contention = false, .leap = false}); }
void BM_ReplayContended(benchmark::State& state) { replay_pipeline(state, {.contention = true, .leap = false}); }
void BM_ReplayContendedRecorded(benchmark::State& state) {
  replay_pipeline(state, {.record_intervals = true, .contention = true});
}
BENCHMARK(BM_ReplayAlone)->Arg(64)->Arg(256)->Arg(1024)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_ReplayContended)->Arg(64)->Arg(256)->Arg(1024)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_ReplayContendedRecorded)->Arg(64)->Arg(256)->Arg(1024)->Unit(benchmark::kMillisecond);

// 64 MiB from every rank at 50 GB/s, one message to every other rank.
void BM_MessageLevelAllToAll(benchmark::State& state) {
  const auto ranks = static_cast<int>(state.range(0));
  const std::vector<std::int64_t> bytes(static_cast<std::size_t>(ranks) * static_cast<std::size_t>(ranks),
                                        (std::int64_t{64} << 20) / ranks);
  MessageLevelResult result;
  for (auto _ : state) result = simulate_all_to_all(ranks, bytes, BytesPerSecond(50e9), Seconds(0.5e-6));
  state.counters["messages"] = static_cast<double>(result.messages);
  state.counters["simulated ms"] = static_cast<double>(result.end) * 1e-9;
  state.counters["messages/s"] =
      benchmark::Counter(static_cast<double>(result.messages), benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK(BM_MessageLevelAllToAll)->Arg(64)->Arg(256)->Arg(1024)->Arg(4096)->Unit(benchmark::kMillisecond);

// Hold model: pop the earliest, push one later; the number of pending events stays.
void BM_EventQueueHold(benchmark::State& state) {
  const auto pending = static_cast<std::uint32_t>(state.range(0));
  EventQueue queue;
  std::uint64_t random = 88172645463325252U;  // xorshift64
  const auto gap = [&random] {
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    return static_cast<Picoseconds>(random % 1'000'000);
  };
  for (std::uint32_t i = 0; i < pending; ++i) queue.push(gap(), i);
  for (auto _ : state) {
    const Event event = queue.pop();
    benchmark::DoNotOptimize(queue.push(event.time + gap(), event.payload));
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_EventQueueHold)->Arg(64)->Arg(1000)->Arg(10'000)->Arg(100'000)->Arg(1'000'000);

}  // namespace
}  // namespace moesim
