#include "exec/run/train_step.hpp"

#include <fmt/format.h>

#include <utility>

namespace moesim {
namespace {

// Beside the channels of the Program's streams.
constexpr Channel kResultChannel(kChannels - 1);

}  // namespace

RankRunner::RankRunner(const Program& program, const RunSettings& settings, SequenceSource source,
                       ComputeBackend& backend, Communicator& comm, Clock clock)
    : program_(program),
      comm_(comm),
      clock_(std::move(clock)),
      rank_(program, settings, std::move(source), backend, comm),
      order_(program, rank_.stage),
      issued_(backend, clock_) {}

Result<std::unique_ptr<RankRunner>> RankRunner::make(const Program& program, const RunSettings& settings,
                                                     SequenceSource source, ComputeBackend& backend, Communicator& comm,
                                                     Clock clock) {
  if (comm.size() != program.layout->world())
    return usage_error(
        fmt::format("the plan is for {} ranks, and {} are running", program.layout->world(), comm.size()));
  std::unique_ptr<RankRunner> runner(
      new RankRunner(program, settings, std::move(source), backend, comm, std::move(clock)));
  MOESIM_TRY(runner->rank_.prepare());
  return runner;
}

Result<StepResult> RankRunner::step() {
  StepResult result;
  MOESIM_TRY(rank_.begin_step(steps_++));
  order_.restart();
  if (rank_.backend.is_asynchronous()) {
    MOESIM_TRY(issued_.begin_step(rank_.compute));
  }
  MOESIM_TRY(run_ops(result));
  if (rank_.store.size() > 0)
    return fail(ErrorKind::kInternal, fmt::format("{} tensors were never released", rank_.store.size()));
  MOESIM_ASSIGN(result.loss, mean_loss());
  result.gradient_norm = rank_.gradient_norm.value_or(0);
  result.memory = {rank_.states.count().held, rank_.tensors.count().peak, rank_.staging.count().peak,
                   rank_.pool->capacity(), rank_.pool->first_slab()};
  return result;
}

// One thread serves all streams: it starts whatever may start, computes in between, and looks after what is in flight.
Status RankRunner::run_ops(StepResult& result) {
  Seconds moved_at = clock_();
  while (!order_.finished()) {
    MOESIM_ASSIGN(bool moved, finish_computed(result));
    bool in_flight = !issued_.empty();
    for (int s = 0; s < kStreams; ++s) {
      const auto stream = static_cast<Stream>(s);
      MOESIM_ASSIGN(const bool finished, finish_arrived(stream, result));
      MOESIM_ASSIGN(const bool started, start_ready(stream, result));
      moved = moved || finished || started;
      in_flight = in_flight || running_[static_cast<std::size_t>(s)].item >= 0;
    }
    if (moved) {
      moved_at = clock_();
      continue;
    }
    if (!in_flight)
      return fail(ErrorKind::kInternal,
                  fmt::format("rank {} can start nothing; {}", rank_.rank.value(), order_.waiting()));
    MOESIM_ASSIGN(const bool progressed, comm_.progress());
    if (progressed)
      moved_at = clock_();
    else
      comm_.rest(clock_() - moved_at);
  }
  return {};
}

OpContext RankRunner::context_of(const IssueOrder::Item& item) { return OpContext(rank_, item.call, order_.op(item)); }

// The device keeps operations of a stream in order by itself, so they are given to it before those in front have ended. The
// results of one are then there for the next, but not yet for communication.
Status RankRunner::issue(std::int32_t index, const OpContext& context) {
  MOESIM_TRY(rank_.place_rows(context.micro_batch()));
  MOESIM_TRY(issued_.begin(index, rank_.compute));
  MOESIM_TRY(run_compute(context));
  MOESIM_TRY(issued_.end(rank_.compute));
  rank_.store.made(order_.call(order_.item(index)), context.op());
  return {};
}

Result<bool> RankRunner::finish_computed(StepResult& result) {
  bool any = false;
  while (!issued_.empty()) {
    MOESIM_ASSIGN(const std::optional<IssuedCompute::Ended> ended, issued_.take_ended());
    if (!ended) break;
    finish(ended->item, ended->start, ended->end, result);
    any = true;
  }
  return any;
}

// Messages are put together beside the computation. Gradients and parameters, which later operations work on where they stand,
// are taken between what the device was given before and what it is given from now on.
Result<CommTask> RankRunner::start_exchange_of_device(const OpContext& context) {
  MOESIM_TRY(rank_.place_rows(context.micro_batch()));
  const OpKind kind = context.op().kind;
  const bool in_place = kind == OpKind::kReduceGrads || kind == OpKind::kGatherParams || kind == OpKind::kGradNorm;
  if (in_place) {
    MOESIM_TRY(order_streams(rank_.backend, rank_.compute, rank_.exchange));
  }
  const ExchangeScope scope(rank_);
  MOESIM_ASSIGN(CommTask task, start_communication(context));
  if (in_place) {
    MOESIM_TRY(order_streams(rank_.backend, rank_.exchange, rank_.compute));
  }
  return task;
}

Result<bool> RankRunner::start_ready(Stream stream, StepResult& result) {
  const bool asynchronous = rank_.backend.is_asynchronous();
  const bool ahead = asynchronous && stream == Stream::kCompute;
  const Seconds freed = stream == Stream::kCompute ? std::exchange(compute_freed_, Seconds(0)) : Seconds(0);
  const std::int32_t index = order_.startable(stream, ahead ? IssueOrder::Join::kAhead : IssueOrder::Join::kWhenFree);
  if (index < 0) return false;
  const bool computes = !is_communication(order_.op(order_.item(index)).kind);
  if (asynchronous && computes && issued_.full()) return false;
  const OpContext context = context_of(order_.item(index));
  if (!context.outputs_are_free()) return false;
  order_.start(index);
  const Seconds start = clock_();
  if (computes && asynchronous) {
    MOESIM_TRY(issue(index, context));
    return true;
  }
  if (computes) {
    MOESIM_TRY(run_compute(context));
    if (waits_) {
      const IssueOrder::Item& item = order_.item(index);
      const Seconds from = freed > Seconds(0) ? freed : start;
      running_[static_cast<std::size_t>(stream)] = {index, from, {}, from + waits_(item.call, item.op)};
    } else {
      finish(index, start, clock_(), result);
    }
    return true;
  }
  MOESIM_ASSIGN(CommTask task, asynchronous ? start_exchange_of_device(context) : start_communication(context));
  running_[static_cast<std::size_t>(stream)] = {index, start, std::move(task), {}};
  return true;
}

Result<bool> RankRunner::finish_arrived(Stream stream, StepResult& result) {
  Running& running = running_[static_cast<std::size_t>(stream)];
  if (running.item < 0 || (running.until > Seconds(0) && clock_() < running.until)) return false;
  for (Request& request : running.task.requests) {
    MOESIM_ASSIGN(const bool done, request.test());
    if (!done) return false;
  }
  running.task.requests.clear();
  if (running.task.then) {
    const auto then = std::exchange(running.task.then, nullptr);
    const ExchangeScope scope(rank_);
    MOESIM_TRY(then(running.task));
    if (rank_.backend.is_asynchronous()) {
      MOESIM_ASSIGN(Request taken_apart, request_behind(rank_.backend, rank_.exchange));
      running.task.requests.push_back(std::move(taken_apart));
    }
    if (!running.task.requests.empty()) return true;
  }
  const Running ended = std::exchange(running, Running{});
  if (stream == Stream::kCompute && ended.until > Seconds(0)) compute_freed_ = ended.until;
  finish(ended.item, ended.start, ended.until > Seconds(0) ? ended.until : clock_(), result);
  return true;
}

void RankRunner::finish(std::int32_t index, Seconds start, Seconds end, StepResult& result) {
  const IssueOrder::Item& item = order_.item(index);
  order_.end(index);
  const Call& call = order_.call(item);
  const Block& block = order_.block(item);
  if (block.kind != BlockKind::kPrologue && block.kind != BlockKind::kEpilogue)
    rank_.store.ended(item.call, call, order_.op(item));
  result.ops.push_back({item.call, item.op, start, end,
                        rank_.states.count().held + rank_.tensors.count().held + rank_.staging.count().held});
  if (!order_.call_ended(item.call)) return;
  rank_.gathered.end_call(item.call);
  switch (block.kind) {
    case BlockKind::kBackward:
    case BlockKind::kBackwardLast:
    case BlockKind::kBackwardWeight:
    case BlockKind::kBackwardWeightLast:
      rank_.release(program_.chunks[static_cast<std::size_t>(block.chunk)], call.micro_batch);
      break;
    case BlockKind::kPair:
      rank_.release(program_.chunks[static_cast<std::size_t>(block.second_chunk)], call.second_micro_batch);
      break;
    default: break;
  }
}

Result<double> RankRunner::mean_loss() {
  double sum = 0;
  MOESIM_TRY(rank_.backend.copy_out(rank_.stream, &sum, rank_.loss_sum->data(), rank_.loss_sum->size()));
  MOESIM_TRY(rank_.backend.synchronize(rank_.stream));
  const auto tokens = static_cast<double>(program_.plan.global_batch) * static_cast<double>(program_.plan.seq_length);
  auto mean = static_cast<float>(sum / tokens);
  Request request = comm_.all_reduce(rank_.group(GroupKind::kWorld), kResultChannel, {DType::kFp32, ReduceKind::kSum},
                                     std::as_writable_bytes(std::span(&mean, 1)));
  MOESIM_TRY(request.wait());
  return static_cast<double>(mean);
}

Result<WholeMatrices> RankRunner::matrices(ParameterPart part) {
  WholeMatrices whole;
  for (const Parameter& parameter : rank_.parameters.all()) {
    const MatrixView own = part == ParameterPart::kValue ? parameter.own_master() : parameter.own_gradient();
    std::vector<float> values(static_cast<std::size_t>(own.columns));
    MOESIM_TRY(rank_.backend.copy_out(rank_.stream, values.data(), own.data, storage(own.columns, DType::kFp32)));
    MOESIM_TRY(rank_.backend.synchronize(rank_.stream));
    whole.add(parameter.pieces, parameter.tensor().columns, parameter.own.begin, values);
  }
  return whole;
}

}  // namespace moesim
