#include "exec/run/training.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <thread>
#include <type_traits>

#include "exec/run/common_clock.hpp"

namespace moesim {
namespace {

// Beside the channels of the Program's streams.
constexpr Channel kRecordChannel(kChannels - 1);

template <class T>
Result<std::vector<std::vector<T>>> gather(Communicator& comm, const std::vector<T>& mine) {
  static_assert(std::is_trivially_copyable_v<T>);
  MOESIM_ASSIGN(const CommGroup group, everyone(comm));
  const auto ranks = static_cast<std::size_t>(comm.size());
  const auto own_bytes = static_cast<std::int64_t>(mine.size() * sizeof(T));
  std::vector<std::int64_t> bytes(ranks);
  MOESIM_TRY(comm.all_gather(group, kRecordChannel, std::as_bytes(std::span(&own_bytes, 1)),
                             std::as_writable_bytes(std::span(bytes)))
                 .wait());
  std::int64_t total = 0;
  for (const std::int64_t each : bytes) total += each;
  std::vector<T> all(static_cast<std::size_t>(total) / sizeof(T));
  MOESIM_TRY(comm.all_gather_v(group, kRecordChannel, std::as_bytes(std::span(mine)),
                               std::as_writable_bytes(std::span(all)), bytes)
                 .wait());
  std::vector<std::vector<T>> by_rank;
  auto next = all.begin();
  for (const std::int64_t each : bytes) {
    const auto count = static_cast<std::ptrdiff_t>(static_cast<std::size_t>(each) / sizeof(T));
    by_rank.emplace_back(next, next + count);
    next += count;
  }
  return by_rank;
}

// A rank's word on whether it can go on.
struct Vote {
  std::uint64_t fingerprint = 0;
  std::int32_t kind = 0;  // ErrorKind; 0: it can
  std::array<char, 512> what{}, where{}, hint{};
};

struct Range {
  double smallest = 0;
  double largest = 0;
};

Result<Range> range_over_ranks(Communicator& comm, const CommGroup& group, double mine) {
  std::vector<double> all(static_cast<std::size_t>(comm.size()));
  MOESIM_TRY(
      comm.all_gather(group, kRecordChannel, std::as_bytes(std::span(&mine, 1)), std::as_writable_bytes(std::span(all)))
          .wait());
  return Range{*std::ranges::min_element(all), *std::ranges::max_element(all)};
}

void copy_text(std::array<char, 512>& to, const std::string& from) {
  std::memcpy(to.data(), from.data(), std::min(from.size(), to.size() - 1));
}

}  // namespace

Result<TrainingRecord> train(const TrainingJob& job, ComputeBackend& backend, Communicator& comm, const Clock& clock,
                             const StepWatcher& watcher) {
  MOESIM_ASSIGN(const auto runner, RankRunner::make(job.program, job.settings, job.source, backend, comm, clock));
  if (job.waits) runner->compute_by_waiting(job.waits);
  MOESIM_ASSIGN(const CommGroup group, everyone(comm));
  TrainingRecord record;
  for (std::int64_t step = 0; step < job.steps; ++step) {
    MOESIM_ASSIGN(const Range stop, range_over_ranks(comm, group, job.stop.stop_requested() ? 1 : 0));
    if (stop.largest != 0 && step > 0) break;
    for (const SlotChange& change : job.changes) {
      if (change.before_step != step) continue;
      MOESIM_TRY(comm.barrier(group, kRecordChannel).wait());
      const Seconds begin = clock();
      MOESIM_ASSIGN(const ExpertMoves moves, move_experts(runner->context(), change.slots));
      record.moves.push_back({step, moves, clock() - begin});
    }
    if (job.pause > Seconds(0)) std::this_thread::sleep_for(std::chrono::duration<double>(job.pause.value()));
    MOESIM_ASSIGN(const Seconds to_common, difference_to_first_clock(comm, kRecordChannel, clock));
    MOESIM_TRY(comm.barrier(group, kRecordChannel).wait());
    const Seconds own_begin = clock() + to_common;
    MOESIM_ASSIGN(StepResult result, runner->step());
    MOESIM_ASSIGN(const Range begin, range_over_ranks(comm, group, own_begin.value()));
    const Seconds first_begin = Seconds(begin.smallest) - to_common;
    const Seconds last_begin = Seconds(begin.largest) - to_common;
    Seconds last = last_begin;
    for (ExecutedOp& op : result.ops) {
      last = std::max(last, op.end);
      op.start = op.start - first_begin;
      op.end = op.end - first_begin;
    }
    record.steps.push_back({result.loss, result.gradient_norm, last - last_begin});
    record.memory = result.memory;
    if (watcher) {
      MOESIM_TRY(watcher(step, result, *runner));
    }
    record.ops = std::move(result.ops);
  }
  return record;
}

Result<std::vector<TrainingRecord>> gather_records(Communicator& comm, const TrainingRecord& mine) {
  MOESIM_ASSIGN(auto steps, gather(comm, mine.steps));
  MOESIM_ASSIGN(auto moves, gather(comm, mine.moves));
  MOESIM_ASSIGN(auto ops, gather(comm, mine.ops));
  MOESIM_ASSIGN(auto memory, gather(comm, std::vector<MemoryUse>{mine.memory}));
  std::vector<TrainingRecord> records;
  for (std::size_t rank = 0; rank < steps.size(); ++rank)
    records.push_back({std::move(steps[rank]), std::move(moves[rank]), std::move(ops[rank]), memory[rank].front()});
  return records;
}

Result<std::vector<std::vector<std::int32_t>>> gather_numbers(Communicator& comm,
                                                              const std::vector<std::int32_t>& mine) {
  return gather(comm, mine);
}

Status agree(Communicator& comm, const Status& mine, std::uint64_t fingerprint) {
  Vote vote;
  vote.fingerprint = fingerprint;
  if (!mine) {
    vote.kind = static_cast<std::int32_t>(mine.error().kind);
    copy_text(vote.what, mine.error().what);
    copy_text(vote.where, mine.error().where);
    copy_text(vote.hint, mine.error().hint);
  }
  MOESIM_ASSIGN(const auto votes, gather(comm, std::vector<Vote>{vote}));
  const auto everywhere = std::ranges::all_of(votes, [](const auto& each) { return each.front().kind != 0; });
  for (std::size_t rank = 0; rank < votes.size(); ++rank) {
    const Vote& each = votes[rank].front();
    if (each.kind == 0) continue;
    const std::string who = everywhere ? "" : fmt::format("rank {}: ", rank);
    return fail(static_cast<ErrorKind>(each.kind), who + each.what.data(), each.where.data(), each.hint.data());
  }
  for (std::size_t rank = 1; rank < votes.size(); ++rank)
    if (votes[rank].front().fingerprint != votes.front().front().fingerprint)
      return usage_error(fmt::format("ranks 0 and {} were given different plans, models or settings", rank),
                         "give all ranks the same files and options");
  return {};
}

}  // namespace moesim
