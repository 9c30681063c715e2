#include "exec/cli/job.hpp"

#include <fmt/format.h>

#include <memory>
#include <utility>

#include "exec/run/executable.hpp"
#include "sim/cli/number_range.hpp"
#include "sim/cli/plan_place.hpp"
#include "sim/cli/routing_source.hpp"
#include "sim/cli/sources.hpp"
#include "sim/lower/lower.hpp"
#include "sim/lower/moe_schedule.hpp"
#include "sim/report/metric.hpp"
#include "sim/report/report.hpp"
#include "sim/simulate/step.hpp"
#include "traces/random.hpp"

namespace moesim {
namespace {

std::string bytes_text(Bytes bytes) { return display_text(bytes.count(), MetricUnit::kBytes); }

std::uint64_t hash_of(std::string_view text) {
  std::uint64_t hash = 0;
  for (const char c : text) hash = splitmix64(hash ^ static_cast<unsigned char>(c));
  return hash;
}

std::string fingerprint_text(const Job& job, const JobOptions& options) {
  const std::string model = input_record("model", job.model_source).sha256;
  const std::string trace = job.trace_source.empty() ? "" : input_record("trace", job.trace_source).sha256;
  return fmt::format("{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}", plan_to_json(job.file, 0), job.model_source, model,
                     job.trace_source, trace, options.trace_step, options.gate, options.precision, options.steps,
                     options.seed, options.learning_rate, options.balance_coefficient, options.compute,
                     options.switch_to.empty() ? "" : input_record("plan", options.switch_to).sha256,
                     options.switch_after);
}

// Another plan for the same job, whose experts stand in other slots.
Status load_switch(Job& job, const JobOptions& options) {
  if (options.switch_to.empty()) return {};
  MOESIM_ASSIGN(PlanFile other, read_plan_file(options.switch_to));
  if (!options.precision.empty()) other.plan.precision = options.precision;
  MOESIM_TRY(in_plan_file(options.switch_to, check_plan(other.plan, job.model.shape, other.plan.sizes().world())));
  MOESIM_TRY(check_can_move(job.program, other.plan.expert_slots));
  Plan alike = other.plan;
  alike.expert_slots = job.file.plan.expert_slots;
  if (!(alike == job.file.plan))
    return usage_error(
        fmt::format("--switch-to: {} differs from the plan in more than expert_slots", options.switch_to),
        "give a copy of the plan with other expert_slots");
  if (options.switch_after >= options.steps)
    return usage_error(fmt::format("--switch-after: there are {} steps, so none comes after step {}", options.steps,
                                   options.switch_after),
                       "give it a smaller number, or --steps a larger one");
  job.changes.push_back({options.switch_after, std::move(other.plan.expert_slots)});
  return {};
}

Status load_gating(Job& job, const JobOptions& options) {
  if (options.gate == "learned") {
    if (!options.trace.empty())
      return usage_error("--trace is what --gate replay forces; learned gates choose for themselves",
                         "add --gate replay, or leave --trace out");
    return {};
  }
  job.settings.gating = Gating::kReplay;
  if (job.model.shape.first_moe() == nullptr)
    return usage_error("--gate replay: the model has no experts to choose", "leave --gate out");
  job.trace_source = options.trace.empty() ? job.file.trace : options.trace;
  if (job.trace_source.empty()) {
    job.notes.emplace_back("the gates are forced to choose every expert equally often; --trace replays a recording");
    return {};
  }
  RoutingSource source;
  source.trace = job.trace_source;
  source.step = options.trace_step;
  source.model = &job.model.shape;
  MOESIM_ASSIGN(job.trace, load_routing(source, job.notes));
  return {};
}

Status check_compute(Job& job, const JobOptions& options) {
  if (options.compute != "wait") return {};
  if (job.model.shape.first_moe() != nullptr && job.settings.gating == Gating::kLearned)
    return usage_error("--compute wait: gates that compute nothing cannot choose experts", "add --gate replay");
  job.notes.emplace_back("computation was a wait of the predicted time; only communication and the order are measured");
  return {};
}

Status check_memory(const Job& job, const World& world) {
  Bytes wanted;
  for (int rank = 0; rank < job.program.layout->world(); ++rank)
    if (world.is_here(RankId(rank))) wanted += job.memory.stages[job.program.layout->stage(RankId(rank)).index()].peak;
  const Result<Bytes> available = available_memory();
  if (!available || wanted <= *available) return {};  // unknown: the allocation will tell
  return usage_error(fmt::format("the ranks on this machine need {} by the memory walk, and {} are available",
                                 bytes_text(wanted), bytes_text(*available)),
                     "take a smaller model or micro-batch, or more machines");
}

}  // namespace

void add_gate_options(CLI::App& command, Session& session, JobOptions& options) {
  constexpr const char* kGroup = "Gates";
  session
      .add_choice(command, "--gate", options.gate, {"learned", "replay"},
                  "Who chooses the experts: the model's gates, or --trace by force")
      ->capture_default_str()
      ->group(kGroup);
  add_routing_source(command, session, "--trace", options.trace)->group(kGroup);
  command
      .add_option("--trace-step", options.trace_step,
                  "Index of one recorded step of the trace, instead of all together")
      ->option_text("N")
      ->check(CLI::Range(0, 1'000'000'000))
      ->group(kGroup);
}

void add_training_options(CLI::App& command, Session& session, JobOptions& options) {
  constexpr const char* kGroup = "Training";
  add_model_source(command, session, "--model", options.model)->group(kGroup);
  session.add_choice(command, "--dtype", options.precision, {"fp32", "bf16"}, "Number format, in place of the plan's")
      ->group(kGroup);
  command.add_option("--steps", options.steps, "Steps of training")
      ->option_text(fmt::format("N [{}]", options.steps))
      ->check(CLI::Range(1, 1'000'000))
      ->group(kGroup);
  command.add_option("--learning-rate", options.learning_rate, "Of AdamW")
      ->option_text("X [0.001]")
      ->check(number_in(0.0, 10.0))
      ->group(kGroup);
  command.add_option("--seed", options.seed, "Of the weights at the start, and of the text")
      ->option_text("N [1]")
      ->group(kGroup);
  command
      .add_option("--timeout", options.timeout_s,
                  "Give up when a rank has waited so many seconds and nothing has moved")
      ->option_text("SECONDS [60]")
      ->check(number_in(0.1, 1e6))
      ->group(kGroup);
  add_device_options(command, session, options.device);
}

void add_switch_options(CLI::App& command, JobOptions& options) {
  constexpr const char* kGroup = "Experts";
  CLI::Option* to = command
                        .add_option("--switch-to", options.switch_to,
                                    "A plan that differs in expert_slots: in the middle of the run experts move there")
                        ->option_text("PLAN")
                        ->group(kGroup);
  command.add_option("--switch-after", options.switch_after, "Steps before they do")
      ->option_text("N [1]")
      ->check(CLI::Range(1, 1'000'000))
      ->needs(to)
      ->group(kGroup);
}

void add_compute_option(CLI::App& command, Session& session, JobOptions& options) {
  session
      .add_choice(command, "--compute", options.compute, {"real", "wait"},
                  "Compute, or wait as long as the prediction says: for machines with fewer cores than ranks")
      ->capture_default_str();
  command
      .add_option("--pause", options.pause_s,
                  "Sleep so many seconds before each step, in which other work on the machine gets its turn")
      ->option_text("SECONDS [0]")
      ->check(number_in(0.0, 60.0));
}

Result<Job> prepare_job(const std::string& plan_path, const JobOptions& options, const World& world) {
  MOESIM_ASSIGN(PlanFile plan, read_plan_file(plan_path));
  return prepare_job(std::move(plan), plan_path, options, world);
}

Result<Job> prepare_job(PlanFile file, std::string plan_path, const JobOptions& options, const World& world) {
  Job job;
  job.plan_path = std::move(plan_path);
  job.file = std::move(file);
  Plan& plan = job.file.plan;
  if (!options.precision.empty()) plan.precision = options.precision;
  job.model_source = options.model.empty() ? job.file.model : options.model;
  MOESIM_ASSIGN(job.model, load_model(job.model_source));
  job.notes = job.model.notes;

  const int ranks = plan.sizes().world();
  if (world.size() > 0 && world.size() != ranks)
    return usage_error(fmt::format("the plan is for {} ranks, and {} processes were started", ranks, world.size()),
                       fmt::format("mpirun -n {}, or --processes {}", ranks, ranks));
  MOESIM_TRY(in_plan_file(job.plan_path, check_plan(plan, job.model.shape, ranks)));
  MOESIM_TRY(in_plan_file(job.plan_path, check_executable(plan, job.model.shape)));
  MOESIM_TRY(load_gating(job, options));
  MOESIM_TRY(check_compute(job, options));
  MOESIM_ASSIGN(Layout layout, Layout::make(plan.layout, ranks));
  const LoadMapper* recorded = job.trace ? &*job.trace : nullptr;
  MOESIM_ASSIGN(const auto loads, loads_for(plan, job.model.shape, recorded, kMostVariants));
  job.notes.insert(job.notes.end(), loads->notes.begin(), loads->notes.end());
  if (compresses_rows(plan)) job.notes.push_back(wire_note(plan));
  if (const auto schedule = find_moe_schedule(plan.moe_schedule); schedule && loads->moe_layers > 0)
    for (std::string& note : (*schedule)->notes_of_execution(plan)) job.notes.push_back(std::move(note));
  MOESIM_ASSIGN(job.program, lower(plan, job.model.shape, std::make_shared<const Layout>(std::move(layout)), loads));
  MOESIM_TRY(load_switch(job, options));
  job.memory = walk_memory(job.program);
  MOESIM_TRY(check_device(options.device));
  if (options.compute == "wait" && options.device.backend != "cpu")
    return usage_error("--compute wait is for processors", "leave --backend or --compute out");
  if (options.device.backend == "cpu") {  // of a GPU's memory the allocation will tell
    MOESIM_TRY(check_memory(job, world));
  }
  job.settings.seed = options.seed;
  job.settings.optimizer.rate = options.learning_rate;
  job.settings.balance_coefficient = options.balance_coefficient;
  job.fingerprint = hash_of(fingerprint_text(job, options));
  return job;
}

Result<std::vector<TrainingRecord>> execute_job(const Job& job, const JobOptions& options, World& world,
                                                const RankWaits& waits) {
  std::vector<TrainingRecord> records;
  const auto rank_main = [&](Communicator& comm) -> Status {
    TrainingRecord mine;
    const TrainingJob training{.program = job.program,
                               .settings = job.settings,
                               .source = synthetic_sequences(job.model.shape.vocab, options.seed),
                               .steps = options.steps,
                               .waits = waits ? waits(comm.rank()) : OperationWaits(),
                               .changes = job.changes,
                               .pause = Seconds(options.pause_s)};
    if (waits) {
      const std::unique_ptr<ComputeBackend> nothing = without_kernels(make_cpu_backend());
      MOESIM_ASSIGN(mine, train(training, *nothing, comm, steady_clock()));
    } else {
      MOESIM_ASSIGN(const RankHardware hardware, RankHardware::open(options.device, comm, world.comm_options()));
      MOESIM_ASSIGN(mine, train(training, hardware.backend(), hardware.comm(), steady_clock()));
    }
    MOESIM_ASSIGN(std::vector<TrainingRecord> all, gather_records(comm, mine));
    if (comm.rank() == RankId(0)) records = std::move(all);
    return {};
  };
  MOESIM_TRY(world.run(job.program.layout->world(), rank_main));
  return records;
}

}  // namespace moesim
