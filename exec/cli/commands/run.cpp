// moeexec run

#include <fmt/format.h>

#include <memory>
#include <utility>

#include "exec/cli/commands/commands.hpp"
#include "exec/cli/execution_report.hpp"
#include "exec/cli/prediction.hpp"
#include "exec/run/executed_timeline.hpp"

namespace moesim {
namespace {

struct RunRequest {
  std::string plan;
  JobOptions job;
  PredictionOptions prediction;  // with --compute wait or --switch-to
  std::string timeline_out;
  int processes = 0;  // 0: those of a launcher, or threads
};

struct PreparedRun {
  Job job;
  RankWaits waits;                   // empty: computes
  std::vector<PlanSwitch> switches;  // predicted, of the changes of the job; empty: not asked for
};

Result<PreparedRun> prepare(const Session& session, const RunRequest& request, const World& world) {
  MOESIM_TRY(session.check_output());
  if (request.timeline_out == "-")
    return usage_error("--timeline-out: a timeline is written to a file, not to stdout", "name a file");
  MOESIM_TRY(check_writable(request.timeline_out, session.overwrite()));
  const bool waits = request.job.compute == "wait";
  const bool predicts_switch = request.prediction.given() && !request.job.switch_to.empty();
  if (!waits && request.prediction.given() && !predicts_switch)
    return usage_error("--cluster, --nodes and --profile predict, and there is nothing to be predicted",
                       "add --compute wait or --switch-to, or leave them out");
  PreparedRun prepared;
  MOESIM_ASSIGN(prepared.job, prepare_job(request.plan, request.job, world));
  if (!waits && !predicts_switch) return prepared;
  const Job& job = prepared.job;
  MOESIM_ASSIGN(const Prediction prediction, predict(request.prediction, job, request.job));
  prepared.job.notes.insert(prepared.job.notes.end(), prediction.notes.begin(), prediction.notes.end());
  if (waits) prepared.waits = waits_for(prediction, job);
  ExpertSlots now = job.file.plan.expert_slots;
  for (const SlotChange& change : job.changes) {
    Plan before = job.file.plan;
    before.expert_slots = std::exchange(now, change.slots);
    MOESIM_ASSIGN(const PlanSwitch predicted, switch_of_plan(before, change.slots, job.model.shape, *prediction.costs));
    prepared.switches.push_back(predicted);
  }
  return prepared;
}

Status write_timeline_file(const Session& session, const RunRequest& request, const Job& job,
                           const std::vector<TrainingRecord>& records) {
  if (request.timeline_out.empty()) return {};
  MOESIM_ASSIGN(const std::int64_t slices, write_executed_timeline({.program = job.program,
                                                                    .records = records,
                                                                    .memory = &job.memory,
                                                                    .predicted = {},
                                                                    .metadata = {{"model", job.model_source},
                                                                                 {"trace", job.trace_source},
                                                                                 {"plan", run_name(job.file.plan)},
                                                                                 {"executed", "moeexec run"}}},
                                                                   request.timeline_out));
  session.say(fmt::format("wrote {}: {} slices of {} ranks; open it at https://ui.perfetto.dev", request.timeline_out,
                          slices, records.size()));
  return {};
}

RunResult run_run(Session& session, const RunRequest& request) {
  const Seconds timeout(request.job.timeout_s);
  MOESIM_ASSIGN(World world, request.processes > 0 ? World::fork("moeexec", timeout, request.processes)
                                                   : World::join("moeexec", timeout));
  const Result<PreparedRun> prepared = prepare(session, request, world);
  const Status ready = prepared ? Status{} : tl::unexpected(prepared.error());
  MOESIM_ASSIGN(const NextStep next, agree_to_start(world, ready, prepared ? prepared->job.fingerprint : 0));
  if (next == NextStep::kStop) return kExitOk;
  const Job& job = prepared->job;
  MOESIM_ASSIGN(const std::vector<TrainingRecord> records, execute_job(job, request.job, world, prepared->waits));
  if (!world.leads()) return kExitOk;
  MOESIM_TRY(write_timeline_file(session, request, job, records));
  Report report = session.new_report();
  describe_execution(report, job, world, records, prepared->switches);
  MOESIM_TRY(session.emit(report));
  return kExitOk;
}

}  // namespace

void add_run(CLI::App& app, Session& session) {
  CLI::App* command =
      app.add_subcommand("run", "Executes a plan: real steps of training, with the time of every operation");
  command->footer(
      "# ranks are threads of this process\n"
      "moeexec run plan.json --steps 20\n"
      "# one process for each rank; a timeline for https://ui.perfetto.dev\n"
      "mpirun -n 8 --mca mpi_yield_when_idle 1 moeexec run plan.json --timeline-out step.json.gz --json\n"
      "# the same on one machine without mpirun: the processes find together over TCP\n"
      "moeexec run plan.json --processes 8\n"
      "# the gates choose as often as a recording says\n"
      "moeexec run plan.json --gate replay --trace recording.csv.zst\n"
      "# after three steps experts move to where another plan has them\n"
      "moeexec run plan.json --steps 6 --switch-to moved.json --switch-after 3\n"
      "# and how long that should take on this machine\n"
      "moeexec run plan.json --steps 6 --switch-to moved.json --cluster machine.json --profile profile.json");
  auto request = std::make_shared<RunRequest>();
  command->add_option("plan", request->plan, "A plan file (docs/plan.md); its sizes say how many ranks there are")
      ->option_text("PLAN")
      ->required();
  command
      ->add_option(
          "--processes", request->processes,
          "Start a process of this machine for each rank; without it ranks are threads, or what mpirun started")
      ->option_text("N")
      ->check(CLI::Range(1, 1024));
  add_training_options(*command, session, request->job);
  add_compute_option(*command, session, request->job);
  add_prediction_options(*command, session, request->prediction);
  add_gate_options(*command, session, request->job);
  add_switch_options(*command, request->job);
  command
      ->add_option("--timeline-out", request->timeline_out,
                   "Write the last step as a timeline (Chrome/Perfetto JSON; .gz and .zst compress)")
      ->option_text("FILE");
  session.add_output_options(*command);
  session.run_when_chosen(*command, [&session, request] { return run_run(session, *request); });
}

}  // namespace moesim
