// moesim sweep

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <memory>
#include <tuple>

#include "sim/cli/commands/commands.hpp"
#include "sim/cli/launcher.hpp"
#include "sim/sweep/field.hpp"
#include "sim/sweep/mpi.hpp"
#include "sim/sweep/run.hpp"

namespace moesim {
namespace {

struct SweepRequest {
  std::string spec;
  std::string base;
  std::array<std::string, kSweepFields> axes;  // as written; empty: not given
  int jobs = 1;
  bool restart = false;
  bool json = false;
};

Result<SweepSpec> spec_of(const SweepRequest& request) {
  SweepSpec spec = SweepSpec::empty();
  if (!request.spec.empty()) {
    MOESIM_ASSIGN(spec, SweepSpec::read_file(request.spec));
  }
  if (!request.base.empty()) {
    MOESIM_TRY(spec.set_base_file(request.base));
  }
  for (const FieldTraits& traits : sweep_fields()) {
    const std::string& text = request.axes[static_cast<std::size_t>(traits.field)];
    if (text.empty()) continue;
    auto axis = parse_axis(traits.field, text);
    if (!axis) return usage_error(fmt::format("{}: {}", traits.options, axis.error().what), axis.error().hint);
    spec.set_axis(std::move(*axis));
  }
  if (const Status complete = spec.check(); !complete) {
    const Error& error = complete.error();
    return request.spec.empty() ? usage_error(error.what, error.hint)
                                : invalid_input(error.what, request.spec, error.hint);
  }
  return spec;
}

MetricTable summary_record(const SweepSummary& s, const std::string& output) {
  std::vector<Metric> metrics = {
      {{"points", MetricUnit::kNone, "points", "Rows of the result"}, s.points},
      {{"resumed", MetricUnit::kNone, "resumed", "Of them finished by an earlier run"}, s.resumed},
      {{"ok", MetricUnit::kNone, "simulated", "Plans that could be simulated"}, s.ok},
      {{"fits", MetricUnit::kNone, "fit", "Of them within the devices' memory"}, s.fits},
      {{"invalid", MetricUnit::kNone, "invalid", "Plans that break a rule; their rows say which"}, s.invalid},
      {{"failed", MetricUnit::kNone, "failed", "Plans at which moesim failed; their rows say how"}, s.failed},
      {{"output", MetricUnit::kNone, "written to", "File with the rows"}, output}};
  const auto of_best = [&](std::string_view key) { return s.best ? (*s.best)[sweep_column(key)] : MetricValue(); };
  const auto columns = sweep_columns();
  for (const std::string_view key : {"point", "name", "step_time_s", "tokens_per_s_per_gpu"}) {
    MetricColumn column = columns[sweep_column(key)];
    column.title = "best: " + column.title;
    column.key = "best." + column.key;
    metrics.push_back({std::move(column), of_best(key)});
  }
  return record_of(std::move(metrics));
}

Status print_summary(const Session& session, const SweepRequest& request, const SweepSummary& summary) {
  Report report = session.new_report();
  if (!request.spec.empty()) report.inputs.push_back(input_record("sweep", request.spec));
  if (!request.base.empty()) report.inputs.push_back(input_record("plan", request.base));
  report.add_record("summary", "", summary_record(summary, session.output().file));
  // To stdout: the file of -o is the sweep's own.
  return write_output("-", render(report, request.json ? OutputFormat::kJson : OutputFormat::kTable, {}),
                      Overwrite::kRefuse);
}

Result<SweepSummary> lead(const Session& session, const SweepRequest& request, SweepTransport& transport) {
  MOESIM_ASSIGN(const SweepSpec spec, spec_of(request));
  MOESIM_TRY(check_new_file(session.output().file, session.overwrite()));
  const auto progress = session.progress("sweep");
  const auto start = std::chrono::steady_clock::now();
  SweepOptions options;
  options.output = session.output().file;
  options.start = request.restart ? JournalStart::kRestart : JournalStart::kResume;
  options.jobs = request.jobs;
  options.tool = session.tool();
  options.stop = Session::stop();
  options.progress = progress.get();
  options.clock = [start] {
    return Seconds(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  };
  return run_sweep(spec, options, transport);
}

RunResult sweep(Session& session, const SweepRequest& request) {
  std::unique_ptr<SweepTransport> transport = std::make_unique<SerialTransport>();
  if (const int processes = launched_processes(); processes > 1) {
    MOESIM_ASSIGN(transport, join_mpi(processes));
  }
  if (transport->rank() != 0) {
    // What went wrong has been told to rank 0, which reports it and ends with its status. A status from here could make
    // mpirun end rank 0 before it has spoken.
    std::ignore = work_for_sweep(spec_of(request), request.jobs, Session::stop(), *transport);
    return kExitOk;
  }
  const Result<SweepSummary> led = lead(session, request, *transport);
  dismiss_workers(*transport);
  MOESIM_ASSIGN(const SweepSummary summary, led);
  MOESIM_TRY(print_summary(session, request, summary));
  if (summary.failed == 0) return kExitOk;
  session.warn(fmt::format("moesim failed at {} of {} points", summary.failed, summary.points),
               "the rows with status 'failed' say how; please report one");
  return static_cast<int>(ErrorKind::kInternal);
}

}  // namespace

void add_sweep(CLI::App& app, Session& session) {
  CLI::App* command =
      app.add_subcommand("sweep", "Simulates every combination of some axes; resumable, also under mpirun");
  command->footer(
      "moesim sweep examples/sweep-mixtral.json -o mixtral.csv\n"
      "# axes: values, or START:END:xFACTOR, or START:END:+STEP; they replace those of the file\n"
      "moesim sweep --model zoo:mixtral-8x7b --cluster preset:h100 --nodes 1:8:x2 --seq 4096 --gbs 256 \\\n"
      "  --tp 1,2,4,8 --ep 1:8:x2 --mbs 1:4:+1 -o mixtral.db\n"
      "mpirun -n 16 moesim sweep examples/sweep-mixtral.json -o mixtral.csv");
  auto request = std::make_shared<SweepRequest>();
  command->add_option("spec", request->spec, "Base plan and axes (docs/sweep.md)")->option_text("SPEC");
  command->add_option("--base", request->base, "A plan file for all that no axis gives")->option_text("PLAN");
  for (const FieldTraits& traits : sweep_fields())
    command
        ->add_option(std::string(traits.options), request->axes[static_cast<std::size_t>(traits.field)],
                     std::string(traits.description))
        ->option_text("VALUES")
        ->group("Axes");
  command->add_option("-j,--jobs", request->jobs, "Threads of each process")
      ->option_text("N")
      ->check(CLI::Range(1, 1024))
      ->default_str("1");
  command->add_flag("--restart", request->restart, "Throw away what an interrupted run has finished");
  command->add_flag("--json", request->json, "The summary as JSON")->group("Output");
  session.add_file_options(*command, FileOption::kRequired);
  session.run_when_chosen(*command, [&session, request] { return sweep(session, *request); });
}

}  // namespace moesim
