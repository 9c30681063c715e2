// moeexec record

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "base/file.hpp"
#include "exec/cli/commands/commands.hpp"
#include "exec/cli/execution_report.hpp"
#include "exec/record/training_text.hpp"
#include "exec/run/recorder.hpp"
#include "sim/cli/number_range.hpp"
#include "sim/report/sha256.hpp"
#include "traces/random.hpp"
#include "traces/writer.hpp"

namespace moesim {
namespace {

constexpr std::uint64_t kLargestText = std::uint64_t{1} << 30;
constexpr std::int64_t kByteVocabulary = 256;
constexpr std::size_t kLastSteps = 20;  // whose mean loss is told as that of the end

struct RecordRequest {
  std::string plan;
  JobOptions job;
  std::vector<std::string> text = {std::string(kBundledText)};
  std::int64_t every = 20;
  bool json = false;
};

struct Preparations {
  Job job;
  std::string text;
  std::string text_hash;
  std::unique_ptr<TraceWriter> writer;  // of the process that leads

  // The same on all ranks when they were given the same.
  [[nodiscard]] std::uint64_t fingerprint(const RecordRequest& request) const {
    std::uint64_t hash = job.fingerprint ^ static_cast<std::uint64_t>(request.every);
    for (const char c : text_hash) hash = splitmix64(hash ^ static_cast<unsigned char>(c));
    return hash;
  }
};

struct Recorded {
  std::vector<TrainingRecord> records;
  std::vector<ChoiceRow> rows;
  bool stopped = false;  // before the last step, because the user asked for it

  [[nodiscard]] const std::vector<StepRecord>& steps() const { return records.front().steps; }
  // Single steps see few sequences; of the end the mean over some tells more.
  [[nodiscard]] double last_loss() const {
    const std::size_t count = std::min(kLastSteps, steps().size());
    double sum = 0;
    for (auto step = steps().end() - static_cast<std::ptrdiff_t>(count); step != steps().end(); ++step)
      sum += step->loss;
    return sum / static_cast<double>(count);
  }
};

Result<std::string> read_texts(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) {
    if (name == kBundledText) {
      text += bundled_text();
      continue;
    }
    MOESIM_ASSIGN(const std::string one, read_file(name, kLargestText - text.size()));
    if (one.empty()) return invalid_input("the text is empty", name);
    text += one;
  }
  return text;
}

Result<Preparations> prepare(const Session& session, const RecordRequest& request, const World& world) {
  const std::string& to = session.output().file;
  MOESIM_TRY(check_new_file(to, session.overwrite()));
  MOESIM_TRY(check_new_file(to + ".json", session.overwrite()));
  Preparations made;
  MOESIM_ASSIGN(made.job, prepare_job(request.plan, request.job, world));
  const ModelShape& model = made.job.model.shape;
  if (model.first_moe() == nullptr)
    return usage_error("the model has no experts, so there is nothing to record", "give --model with a MoE model");
  if (model.vocab < kByteVocabulary)
    return usage_error(
        fmt::format("bytes need a vocabulary of {}, and the model's is {}", kByteVocabulary, model.vocab));
  MOESIM_ASSIGN(made.text, read_texts(request.text));
  made.text_hash = sha256_hex(made.text);
  if (world.leads()) {  // now, so that no training ends at a folder that cannot be written
    MOESIM_ASSIGN(made.writer, TraceWriter::create(to, TraceRows::kCounts));
  }
  return made;
}

// What can be told of the trace beside its numbers. The same for the same recording: no times, no dates.
TraceInfo describe_trace(const RecordRequest& request, const Preparations& made, const Recorded& recorded) {
  const Job& job = made.job;
  const Plan& plan = job.file.plan;
  const MoeShape& moe = *job.model.shape.first_moe();
  TraceInfo info;
  info.model = job.model.shape.name;
  info.top_k = moe.top_k;
  info.tokens_per_rank_per_microbatch = plan.tokens_per_micro_batch() / plan.sizes().tp;
  info.model_experts = moe.experts;
  info.model_layers = job.model.shape.layer_count();
  info.num_src_ranks = plan.sizes().world() / plan.sizes().pp;
  info.gate = fmt::format("learned top-{}, balance loss {}", moe.top_k, request.job.balance_coefficient);
  info.phase = TracePhase::kTraining;
  info.origin = TraceOrigin::kRecorded;
  info.drops = TraceDrops::kNone;
  info.source = fmt::format(
      "moeexec record {} --model {} --text {} --steps {} --every {} --balance-loss {} --learning-rate {} --seed {}",
      request.plan, job.model_source, fmt::join(request.text, " "), request.job.steps, request.every,
      request.job.balance_coefficient, request.job.learning_rate, request.job.seed);
  const std::size_t steps = recorded.steps().size();
  info.notes = fmt::format(
      "a small byte-level language model of {} parameters, trained from the start for {} steps of {} tokens; "
      "loss {:.3f} nats per byte at step 0, {:.3f} over the last {}; step 0 is the untrained gate; "
      "the text has {} bytes, sha256 {}",
      count_parameters(job.model.shape).total, steps, std::int64_t{plan.global_batch} * plan.seq_length,
      recorded.steps().front().loss, recorded.last_loss(), std::min(steps, kLastSteps), made.text.size(),
      made.text_hash);
  if (recorded.stopped) info.notes += fmt::format("; stopped by hand before step {}", steps);
  return info;
}

Status write_rows(TraceWriter& writer, const std::vector<ChoiceRow>& rows, const TraceInfo& info) {
  for (const ChoiceRow& row : rows) MOESIM_TRY(writer.counts({row.key, row.counts, {}}));
  return writer.commit(info);
}

Result<Recorded> record(const RecordRequest& request, const Preparations& made, World& world, ProgressSink& progress) {
  Recorded recorded;
  const StopToken stop = Session::stop();
  const auto rank_main = [&](Communicator& comm) -> Status {
    MOESIM_ASSIGN(const RankHardware hardware, RankHardware::open(request.job.device, comm, world.comm_options()));
    ChoiceRecorder recorder;
    const auto watch = [&](std::int64_t step, const StepResult&, RankRunner& runner) -> Status {
      if (step % request.every == 0 || step + 1 == request.job.steps) recorder.take(step, runner.context());
      if (comm.rank() == RankId(0))
        progress.update(static_cast<std::uint64_t>(step + 1), static_cast<std::uint64_t>(request.job.steps), "steps");
      return {};
    };
    const TrainingJob training{made.job.program, made.job.settings, text_sequences(made.text, request.job.seed),
                               request.job.steps, stop};
    MOESIM_ASSIGN(const TrainingRecord mine,
                  train(training, hardware.backend(), hardware.comm(), steady_clock(), watch));
    MOESIM_ASSIGN(std::vector<TrainingRecord> all, gather_records(comm, mine));
    MOESIM_ASSIGN(std::vector<ChoiceRow> rows, recorder.gather(comm));
    const bool stopped = static_cast<std::int64_t>(mine.steps.size()) < request.job.steps;
    if (comm.rank() == RankId(0)) recorded = {std::move(all), std::move(rows), stopped};
    return {};
  };
  MOESIM_TRY(world.run(made.job.program.layout->world(), rank_main));
  return recorded;
}

Report report_of(const Session& session, const RecordRequest& request, const Job& job, const Recorded& recorded) {
  Report report = session.new_report();
  report.inputs.push_back(input_record("plan", request.plan));
  report.inputs.push_back(input_record("model", job.model_source));
  for (const std::string& name : request.text) report.inputs.push_back(input_record("text", name));
  const std::vector<StepRecord>& steps = recorded.steps();
  report.add_record(
      "recording", "",
      record_of({{{"trace", MetricUnit::kNone, "trace", "File"}, session.output().file},
                 {{"rows", MetricUnit::kNone, "rows", "One for each step, layer, micro-batch and source rank"},
                  static_cast<std::int64_t>(recorded.rows.size())},
                 {{"steps", MetricUnit::kNone, "steps", "Of training"}, static_cast<std::int64_t>(steps.size())},
                 {{"first_loss", MetricUnit::kNone, "first loss", "Mean cross entropy, in nats"}, steps.front().loss},
                 {{"last_loss", MetricUnit::kNone, "last loss", "Mean over the last 20 steps"}, recorded.last_loss()},
                 {{"step_time_s", MetricUnit::kSeconds, "step time", "Median"},
                  median_step_time(recorded.records).value()}}));
  MetricTable table({{"step", MetricUnit::kNone, "step", "From 0, as in the trace"},
                     {"loss", MetricUnit::kNone, "loss", "Mean cross entropy of the global batch, in nats"},
                     {"expert_imbalance", MetricUnit::kFactor, "imbalance", "Busiest over average expert, by layer"}});
  for (const StepImbalance& each : imbalance_by_step(recorded.rows))
    table.add_row({each.step, steps[static_cast<std::size_t>(each.step)].loss, each.imbalance});
  report.add_rows("recorded_steps", "Recorded steps", std::move(table));
  report.notes = job.notes;
  if (recorded.stopped)
    report.notes.push_back(fmt::format("stopped after {} of {} steps; the trace has what was recorded until then",
                                       steps.size(), request.job.steps));
  return report;
}

RunResult run_record(Session& session, const RecordRequest& request) {
  MOESIM_ASSIGN(World world, World::join("moeexec", Seconds(request.job.timeout_s)));
  const Result<Preparations> made = prepare(session, request, world);
  const Status ready = made ? Status{} : tl::unexpected(made.error());
  MOESIM_ASSIGN(const NextStep next, agree_to_start(world, ready, made ? made->fingerprint(request) : 0));
  if (next == NextStep::kStop) return kExitOk;
  Result<Recorded> recorded = Recorded{};
  {
    const auto progress = world.leads() ? session.progress("record") : std::make_unique<NoProgress>();
    recorded = record(request, *made, world, *progress);
  }
  if (!recorded) return tl::unexpected(recorded.error());
  const int code = recorded->stopped ? static_cast<int>(ErrorKind::kInterrupted) : kExitOk;
  if (!world.leads()) return code;
  MOESIM_TRY(write_rows(*made->writer, recorded->rows, describe_trace(request, *made, *recorded)));
  // To stdout: the file of -o is the trace's own.
  const Report report = report_of(session, request, made->job, *recorded);
  MOESIM_TRY(write_output("-", render(report, request.json ? OutputFormat::kJson : OutputFormat::kTable, {}),
                          Overwrite::kRefuse));
  return code;
}

}  // namespace

void add_record(CLI::App& app, Session& session) {
  CLI::App* command =
      app.add_subcommand("record", "Trains a byte-level model on a text and writes what its gates chose as a trace");
  command->footer(
      "# a text that comes with the program, and no auxiliary loss\n"
      "moeexec record examples/tiny-plan.json --steps 200 -o recorded.csv.zst\n"
      "# your own text, and the auxiliary loss that evens out the loads\n"
      "moeexec record examples/tiny-plan.json --text README.md docs/*.md --balance-loss 0.01 -o balanced.csv.zst");
  auto request = std::make_shared<RecordRequest>();
  request->job.steps = 2000;
  command->add_option("plan", request->plan, "A plan file (docs/plan.md); its ranks are the sources of the trace")
      ->option_text("PLAN")
      ->required();
  CLI::Option* text = command
                          ->add_option("--text", request->text,
                                       "Any files, one after the other; their bytes are the tokens. Without it " +
                                           std::string(kBundledText) + " (docs/traces.md)")
                          ->option_text("FILE...");
  session.suggest(text, {std::string(kBundledText)});
  command->add_option("--every", request->every, "Record each N-th step, the first and the last")
      ->option_text("N [20]")
      ->check(CLI::Range(1, 1'000'000));
  command
      ->add_option("--balance-loss", request->job.balance_coefficient,
                   "Coefficient of the auxiliary loss for even loads")
      ->option_text("X [0]")
      ->check(number_in(0.0, 100.0));
  add_training_options(*command, session, request->job);
  session.add_file_options(*command, FileOption::kRequired);
  command->add_flag("--json", request->json, "Say what was recorded as JSON")->group("Output");
  session.run_when_chosen(*command, [&session, request] { return run_record(session, *request); });
}

}  // namespace moesim
