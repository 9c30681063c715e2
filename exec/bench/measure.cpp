#include "exec/bench/measure.hpp"

#include <algorithm>
#include <utility>

namespace moesim {
namespace {

constexpr Channel kAgreement(kChannels - 1);  // cases use the lower ones

struct Agreed {
  Seconds sample;
  Seconds spent;
  bool stop = false;
};

Result<Agreed> agree(BenchContext& context, Seconds sample, Seconds spent, const StopToken& stop) {
  MOESIM_ASSIGN(const std::vector<double> all,
                largest_of_all(context, {sample.value(), spent.value(), stop.stop_requested() ? 1.0 : 0.0}));
  return Agreed{Seconds(all[0]), Seconds(all[1]), all[2] > 0};
}

// Whose clock a sample is read from: kernels of an asynchronous backend by the device's, which knows nothing of the way there.
enum class TimedBy : std::uint8_t { kHost, kDevice };

TimedBy timed_by(const ComputeBackend& backend, const BenchWork& work) {
  const bool communicates = std::holds_alternative<CollectiveWork>(work) || std::holds_alternative<OverlapWork>(work);
  return backend.is_asynchronous() && !communicates ? TimedBy::kDevice : TimedBy::kHost;
}

Result<Seconds> time_by_device(BenchContext& context, const PreparedCase& prepared, int runs) {
  ComputeBackend& backend = context.backend;
  MOESIM_ASSIGN(const DeviceEvent start, backend.create_event());
  MOESIM_ASSIGN(const DeviceEvent end, backend.create_event());
  MOESIM_TRY(backend.record(start, context.stream));
  for (int i = 0; i < runs; ++i) MOESIM_TRY(prepared.run());
  MOESIM_TRY(backend.record(end, context.stream));
  MOESIM_TRY(backend.synchronize(context.stream));
  MOESIM_ASSIGN(const Seconds spent, backend.elapsed(start, end));
  backend.destroy_event(start);
  backend.destroy_event(end);
  return spent;
}

Result<Seconds> time_by_host(BenchContext& context, const PreparedCase& prepared, int runs) {
  const Seconds start = context.clock();
  for (int i = 0; i < runs; ++i) MOESIM_TRY(prepared.run());
  MOESIM_TRY(context.backend.synchronize(context.stream));
  return context.clock() - start;
}

// Time of one operation, over `runs` of them that start together on all ranks.
Result<Seconds> time_sample(BenchContext& context, const PreparedCase& prepared, int runs, TimedBy clock) {
  MOESIM_ASSIGN(const CommGroup world, everyone(context.comm));
  MOESIM_TRY(context.comm.barrier(world, kAgreement).wait());
  MOESIM_ASSIGN(const Seconds spent, clock == TimedBy::kDevice ? time_by_device(context, prepared, runs)
                                                               : time_by_host(context, prepared, runs));
  if (prepared.finish) {
    MOESIM_TRY(prepared.finish());
  }
  return spent / (runs * prepared.operations);
}

// Of the slowest rank, in the middle of some.
Result<Seconds> barrier_time(BenchContext& context) {
  constexpr int kBarriers = 9;
  MOESIM_ASSIGN(const CommGroup world, everyone(context.comm));
  std::vector<double> times;
  for (int i = 0; i < kBarriers; ++i) {
    const Seconds start = context.clock();
    MOESIM_TRY(context.comm.barrier(world, kAgreement).wait());
    times.push_back((context.clock() - start).value());
  }
  MOESIM_ASSIGN(times, largest_of_all(context, std::move(times)));
  std::ranges::sort(times);
  return Seconds(times[times.size() / 2]);
}

// The case's samples; nothing when there was no time for its fewest before the user asked to stop.
Result<std::optional<BenchCase>> measure_case(BenchContext& context, const PlannedCase& planned,
                                              const MeasureOptions& options, Seconds barrier, Seconds budget) {
  const Seconds start = context.clock();
  const SampleRules rules = rules_for(planned.work, options.rules, barrier);
  MOESIM_ASSIGN(const PreparedCase prepared, planned.prepare(context));
  const TimedBy clock = timed_by(context.backend, planned.work);
  // The first run touches memory and opens connections, the second tells how long one takes.
  Agreed now;
  for (int i = 0; i < 2; ++i) {
    MOESIM_ASSIGN(const Seconds warm_up, time_sample(context, prepared, 1, clock));
    MOESIM_ASSIGN(now, agree(context, warm_up, context.clock() - start, options.stop));
  }
  const int runs = prepared.repeatable ? operations_per_sample(rules, now.sample * prepared.operations) : 1;
  SampleSeries series(rules, budget);
  std::optional<SamplesEnd> end;
  while (!end) {
    MOESIM_ASSIGN(const Seconds sample, time_sample(context, prepared, runs, clock));
    MOESIM_ASSIGN(now, agree(context, sample, context.clock() - start, options.stop));
    series.add(now.sample);
    end = series.ended(now.spent);
    if (!end && now.stop) end = SamplesEnd::kStopped;
  }
  if (*end == SamplesEnd::kStopped && std::ssize(series.seconds()) < rules.fewest_without_time) return std::nullopt;
  return BenchCase{.name = planned.name,
                   .work = prepared.work.value_or(planned.work),
                   .operations = runs,
                   .end = *end,
                   .seconds = series.seconds()};
}

}  // namespace

Result<std::vector<double>> largest_of_all(BenchContext& context, std::vector<double> mine) {
  MOESIM_ASSIGN(const CommGroup world, everyone(context.comm));
  // Reductions are in FP32, whose 7 digits are more than any clock here is worth.
  std::vector<float> values(mine.begin(), mine.end());
  MOESIM_TRY(
      context.comm
          .all_reduce(world, kAgreement, {DType::kFp32, ReduceKind::kMax}, std::as_writable_bytes(std::span(values)))
          .wait());
  return std::vector<double>(values.begin(), values.end());
}

Measured measure(BenchContext& context, std::span<const PlannedCase> cases, const MeasureOptions& options) {
  Measured measured;
  const Result<Seconds> barrier = barrier_time(context);
  if (!barrier) {
    measured.error = barrier.error();
    return measured;
  }
  Seconds left = options.budget;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    if (options.progress) options.progress(measured, i, cases[i].name);
    const Seconds start = context.clock();
    const Seconds share = left / static_cast<double>(cases.size() - i);
    Result<std::optional<BenchCase>> one = measure_case(context, cases[i], options, *barrier, share);
    if (!one) {
      measured.error = std::move(one).error();
      measured.error->where = cases[i].name;
      return measured;
    }
    if (one->has_value()) measured.cases.push_back(std::move(**one));
    // What is left, and whether to go on, must be the same everywhere.
    Result<Agreed> now = agree(context, Seconds(), context.clock() - start, options.stop);
    if (!now) {
      measured.error = std::move(now).error();
      return measured;
    }
    left = std::max(Seconds(), left - now->spent);
    measured.stopped = now->stop && i + 1 < cases.size();
    if (now->stop) return measured;
  }
  if (options.progress) options.progress(measured, cases.size(), {});
  return measured;
}

}  // namespace moesim
