// What is to be executed: a plan file, the model and the trace that it names, and how the training is to go.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "exec/cli/device_options.hpp"
#include "exec/cli/world.hpp"
#include "exec/run/training.hpp"
#include "models/shape/model_source.hpp"
#include "sim/cli/session.hpp"
#include "sim/memory/memory_walk.hpp"
#include "sim/plan/plan.hpp"
#include "traces/remap.hpp"

namespace moesim {

struct JobOptions {
  std::string model;  // empty: what the plan names; so with trace
  std::string trace;
  int trace_step = -1;
  std::string gate = "learned";
  std::string precision;  // empty: the plan's
  std::int64_t steps = 5;
  std::uint64_t seed = 1;
  float learning_rate = 1e-3F;
  double timeout_s = 60;
  std::string compute = "real";
  double pause_s = 0;
  float balance_coefficient = 0;
  DeviceOptions device;
  std::string switch_to;  // a plan file; empty: experts stay where they stand
  std::int64_t switch_after = 1;
};

// --model, --dtype, --steps, --learning-rate, --seed, --timeout. The options' values so far are the defaults.
void add_training_options(CLI::App& command, Session& session, JobOptions& options);
// --gate, --trace, --trace-step.
void add_gate_options(CLI::App& command, Session& session, JobOptions& options);

// --switch-to, --switch-after.
void add_switch_options(CLI::App& command, JobOptions& options);

// --compute, --pause.
void add_compute_option(CLI::App& command, Session& session, JobOptions& options);

struct Job {
  std::string plan_path;  // empty: made by a search
  PlanFile file;
  std::string model_source, trace_source;
  LoadedModel model;
  std::optional<LoadMapper> trace;
  Program program;
  MemoryReport memory;
  RunSettings settings;
  std::vector<SlotChange> changes;
  std::vector<std::string> notes;
  std::uint64_t fingerprint = 0;  // the same on all ranks when they were given the same
};

// Reads, checks and lowers; refuses what cannot be executed or has no room on this machine.
[[nodiscard]] Result<Job> prepare_job(const std::string& plan_path, const JobOptions& options, const World& world);
// The same for a plan that `plan_path` would hold.
[[nodiscard]] Result<Job> prepare_job(PlanFile plan, std::string plan_path, const JobOptions& options,
                                      const World& world);

// Of a rank; with --compute wait.
using RankWaits = std::function<OperationWaits(RankId rank)>;
// The records of all ranks, on the process that leads; the others get an empty list.
[[nodiscard]] Result<std::vector<TrainingRecord>> execute_job(const Job& job, const JobOptions& options, World& world,
                                                              const RankWaits& waits = {});

}  // namespace moesim
