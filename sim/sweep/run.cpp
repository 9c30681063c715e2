#include "sim/sweep/run.hpp"

#include <fmt/format.h>

#include <charconv>
#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

#include "sim/sweep/evaluator.hpp"
#include "sim/sweep/point_pool.hpp"
#include "sim/sweep/result_file.hpp"

namespace moesim {
namespace {

using std::chrono::milliseconds;

// How long to wait for a row before looking for messages and for an interrupt again. Alone there is only the latter.
constexpr milliseconds kPatienceAlone{50};
constexpr milliseconds kPatienceTogether{1};
constexpr std::int64_t kSyncRows = 64;
constexpr Seconds kSyncTime{1.0};
// Points in the hands of a process for each of its threads: one being worked on and one to go on with.
constexpr int kPointsPerThread = 2;

std::string error_to_text(const Error& error) {
  const nlohmann::json json = {
      {"kind", static_cast<int>(error.kind)}, {"what", error.what}, {"where", error.where}, {"hint", error.hint}};
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Error error_from_text(const std::string& text, int rank) {
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
  MOESIM_ASSERT(json.is_object());  // written by error_to_text
  return {static_cast<ErrorKind>(json["kind"].get<int>()),
          fmt::format("process {}: {}", rank, json["what"].get<std::string>()), json["where"], json["hint"]};
}

Error interrupted(std::int64_t done, std::int64_t all, const std::string& output) {
  return {ErrorKind::kInterrupted, fmt::format("interrupted with {} of {} points done", done, all),
          journal_path(output), "the same command goes on from there"};
}

// Rank 0's side of a sweep that is under way.
class Coordinator {
 public:
  Coordinator(const SweepEvaluator& evaluator, const SweepOptions& options, SweepTransport& transport,
              SweepJournal& journal)
      : options_(options),
        transport_(transport),
        journal_(journal),
        points_(evaluator.spec().points()),
        pool_(evaluator, options.jobs),
        held_(static_cast<std::size_t>(transport.size()), 0) {
    for (int rank = 1; rank < transport.size(); ++rank)
      transport.send(rank, SweepMessageKind::kBegin, evaluator.fingerprint());
  }

  // Until every point is in the journal.
  Status run() {
    tell_progress();
    while (journal_.finished() < points_) {
      if (stopping_ || options_.stop.stop_requested()) return wind_up();
      hand_out();
      MOESIM_ASSIGN(const bool any, collect(patience()));
      if (any) tell_progress();
    }
    return journal_.sync();
  }

 private:
  [[nodiscard]] milliseconds patience() const { return transport_.size() == 1 ? kPatienceAlone : kPatienceTogether; }

  void hand_out() {
    const int most = kPointsPerThread * options_.jobs;
    while (pool_.outstanding() < most && skip_finished()) pool_.add(next_++);
    for (int rank = 1; rank < transport_.size(); ++rank) {
      int& held = held_[static_cast<std::size_t>(rank)];
      while (held < most && skip_finished()) {
        transport_.send(rank, SweepMessageKind::kPoint, fmt::format("{}", next_++));
        ++held;
      }
    }
  }

  // Moves to the next point that nobody has worked on; false when there is none.
  bool skip_finished() {
    while (next_ < points_ && journal_.has(next_)) ++next_;
    return next_ < points_;
  }

  Result<bool> collect(milliseconds patience) {
    MOESIM_ASSIGN(std::vector<FinishedRow> rows, pool_.take(patience));
    while (auto message = transport_.poll()) {
      if (message->kind == SweepMessageKind::kFailed) {
        MOESIM_TRY(take_failure(*message));
        continue;
      }
      MOESIM_ASSERT(message->kind == SweepMessageKind::kRow);
      --held_[static_cast<std::size_t>(message->from)];
      MOESIM_ASSIGN(const SweepRow row, row_from_json(message->body));
      rows.push_back({point_of(row), std::move(message->body)});
    }
    MOESIM_TRY(journal_.append(rows));
    unsynced_ += static_cast<std::int64_t>(rows.size());
    MOESIM_TRY(sync_when_due());
    return !rows.empty();
  }

  // An interrupt may reach another process first; whatever else fails while this one winds up is of no interest.
  Status take_failure(const SweepMessage& message) {
    Error error = error_from_text(message.body, message.from);
    stopping_ = stopping_ || error.kind == ErrorKind::kInterrupted;
    if (stopping_) return {};
    return tl::unexpected(std::move(error));
  }

  Status sync_when_due() {
    const Seconds now = options_.clock ? options_.clock() : last_sync_;
    if (unsynced_ == 0 || (unsynced_ < kSyncRows && now - last_sync_ < kSyncTime)) return {};
    unsynced_ = 0;
    last_sync_ = now;
    return journal_.sync();
  }

  // After an interrupt: keeps what the threads here are just finishing, and what has arrived from elsewhere.
  Status wind_up() {
    stopping_ = true;
    MOESIM_TRY(journal_.sync());
    pool_.drop_waiting();
    while (pool_.outstanding() > 0) MOESIM_TRY(collect(kPatienceAlone));
    MOESIM_TRY(collect(milliseconds(0)));
    MOESIM_TRY(journal_.sync());
    return tl::unexpected(interrupted(journal_.finished(), points_, options_.output));
  }

  void tell_progress() {
    if (options_.progress != nullptr)
      options_.progress->update(static_cast<std::uint64_t>(journal_.finished()), static_cast<std::uint64_t>(points_),
                                {});
  }

  const SweepOptions& options_;
  SweepTransport& transport_;
  SweepJournal& journal_;
  std::int64_t points_;
  PointPool pool_;
  std::vector<int> held_;  // points in the hands of each other rank
  std::int64_t next_ = 0;
  bool stopping_ = false;
  std::int64_t unsynced_ = 0;
  Seconds last_sync_;
};

class SummaryBuilder {
 public:
  void add(const SweepRow& row) {
    const auto& status = std::get<std::string>(row[status_]);
    ++summary_.points;
    if (status == status_name(PointStatus::kInvalid)) ++summary_.invalid;
    if (status == status_name(PointStatus::kFailed)) ++summary_.failed;
    if (status != status_name(PointStatus::kOk)) return;
    ++summary_.ok;
    if (row[fits_] != MetricValue(true)) return;
    ++summary_.fits;
    const double* tokens = std::get_if<double>(&row[tokens_]);
    if (tokens == nullptr || (summary_.best && *tokens <= best_tokens_)) return;
    summary_.best = row;
    best_tokens_ = *tokens;
  }
  [[nodiscard]] SweepSummary take() { return std::move(summary_); }

 private:
  std::size_t status_ = sweep_column("status");
  std::size_t fits_ = sweep_column("fits");
  std::size_t tokens_ = sweep_column("tokens_per_s_per_gpu");
  SweepSummary summary_;
  double best_tokens_ = 0;
};

Result<SweepSummary> finish(const SweepEvaluator& evaluator, const SweepOptions& options, ResultFormat format,
                            SweepJournal& journal) {
  SummaryBuilder summary;
  const ResultRows rows{evaluator.spec().points(), [&](std::int64_t point) -> Result<SweepRow> {
                          MOESIM_ASSIGN(SweepRow row, journal.read(point));
                          summary.add(row);
                          return row;
                        }};
  MOESIM_TRY(write_result(options.output, format, {options.tool, evaluator.spec().canonical_text()}, rows));
  MOESIM_TRY(journal.remove());
  return summary.take();
}

// Another rank's side; returns when rank 0 says stop.
class Worker {
 public:
  Worker(const SweepEvaluator& evaluator, int jobs, StopToken stop, SweepTransport& transport)
      : evaluator_(evaluator), stop_(stop), transport_(transport), pool_(evaluator, jobs) {}

  Status run() {
    while (!stop_.stop_requested()) {
      while (const auto message = transport_.poll()) {
        if (message->kind == SweepMessageKind::kStop) return {};
        MOESIM_TRY(take_in(*message));
      }
      MOESIM_ASSIGN(const std::vector<FinishedRow> rows, pool_.take(kPatienceTogether));
      for (const FinishedRow& row : rows) transport_.send(0, SweepMessageKind::kRow, row.line);
    }
    return fail(ErrorKind::kInterrupted, "interrupted");
  }

 private:
  Status take_in(const SweepMessage& message) {
    if (message.kind == SweepMessageKind::kBegin) return check_begin(message.body);
    MOESIM_ASSERT(message.kind == SweepMessageKind::kPoint);
    std::int64_t point = -1;
    std::from_chars(message.body.data(), message.body.data() + message.body.size(), point);
    pool_.add(point);
    return {};
  }

  Status check_begin(const std::string& fingerprint) const {
    if (fingerprint == evaluator_.fingerprint()) return {};
    return invalid_input("the model, cluster, trace or sweep files here differ from those of process 0", {},
                         "let every host see the same files");
  }

  const SweepEvaluator& evaluator_;
  StopToken stop_;
  SweepTransport& transport_;
  PointPool pool_;
};

Status evaluate_for_rank_0(const Result<SweepSpec>& spec, int jobs, StopToken stop, SweepTransport& transport) {
  MOESIM_TRY(spec);
  MOESIM_TRY(spec->check());
  MOESIM_ASSIGN(const SweepEvaluator evaluator, SweepEvaluator::create(*spec));
  return Worker(evaluator, jobs, stop, transport).run();
}

// So that rank 0 never sends to somebody who has gone.
void wait_for_stop(SweepTransport& transport) {
  while (true) {
    while (const auto message = transport.poll())
      if (message->kind == SweepMessageKind::kStop) return;
    std::this_thread::sleep_for(kPatienceTogether);
  }
}

}  // namespace

std::string journal_path(const std::string& output) { return output + ".journal.jsonl"; }

Result<SweepSummary> run_sweep(const SweepSpec& spec, const SweepOptions& options, SweepTransport& transport) {
  MOESIM_ASSERT(options.jobs >= 1);
  MOESIM_ASSIGN(const ResultFormat format, result_format(options.output));
  MOESIM_TRY(spec.check());
  MOESIM_ASSIGN(const SweepEvaluator evaluator, SweepEvaluator::create(spec));
  const JournalIdentity identity{evaluator.fingerprint(),
                                 fmt::format("{} {}", options.tool.version, options.tool.revision), spec.points()};
  MOESIM_ASSIGN(SweepJournal journal, SweepJournal::open(journal_path(options.output), identity, options.start));
  const std::int64_t resumed = journal.finished();
  MOESIM_TRY(Coordinator(evaluator, options, transport, journal).run());
  MOESIM_ASSIGN(SweepSummary summary, finish(evaluator, options, format, journal));
  summary.resumed = resumed;
  return summary;
}

Status work_for_sweep(const Result<SweepSpec>& spec, int jobs, StopToken stop, SweepTransport& transport) {
  Status worked = evaluate_for_rank_0(spec, jobs, stop, transport);
  if (worked) return {};
  transport.send(0, SweepMessageKind::kFailed, error_to_text(worked.error()));
  wait_for_stop(transport);
  return worked;
}

void dismiss_workers(SweepTransport& transport) {
  for (int rank = 1; rank < transport.size(); ++rank) transport.send(rank, SweepMessageKind::kStop, {});
}

}  // namespace moesim
