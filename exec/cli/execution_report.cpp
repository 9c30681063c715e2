#include "exec/cli/execution_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "calibration/quantile.hpp"
#include "sim/engine/category.hpp"

namespace moesim {
namespace {

constexpr std::size_t kStepsForPeople = 20;

Seconds step_time(const std::vector<TrainingRecord>& records, std::size_t step) {
  Seconds longest;
  for (const TrainingRecord& record : records) longest = std::max(longest, record.steps[step].time);
  return longest;
}

MetricTable run_table(const Job& job, const World& world, const std::vector<TrainingRecord>& records) {
  const Plan& plan = job.file.plan;
  const Seconds time = median_step_time(records);
  const double tokens = static_cast<double>(plan.global_batch) * static_cast<double>(plan.seq_length);
  const std::vector<StepRecord>& steps = records.front().steps;
  return record_of(
      {{{"name", MetricUnit::kNone, "plan", "Run name"}, run_name(plan)},
       {{"ranks", MetricUnit::kNone, "ranks", "Of the plan"}, static_cast<std::int64_t>(records.size())},
       {{"rank_kind", MetricUnit::kNone, "rank kind", "threads of one process, or processes of a launcher"},
        std::string(world.has_processes() ? "processes" : "threads")},
       {{"precision", MetricUnit::kNone, "precision", "Number format of weights and activations"}, plan.precision},
       {{"gate", MetricUnit::kNone, "gate", "Who chose the experts"},
        std::string(job.settings.gating == Gating::kReplay ? "replay" : "learned")},
       {{"steps", MetricUnit::kNone, "steps", "Steps of training"}, static_cast<std::int64_t>(steps.size())},
       {{"first_loss", MetricUnit::kNone, "first loss", "Mean cross entropy of the first step, in nats"},
        steps.front().loss},
       {{"last_loss", MetricUnit::kNone, "last loss", "Of the last step"}, steps.back().loss},
       {{"step_time_s", MetricUnit::kSeconds, "step time",
         "Of the slowest rank; median over the steps but the first, which also warms up"},
        time.value()},
       {{"tokens_per_second", MetricUnit::kTokensPerSecond, "tokens/s", "Of all ranks together"},
        tokens / time.value()}});
}

MetricTable step_table(const std::vector<TrainingRecord>& records) {
  MetricTable table({{"step", MetricUnit::kNone, "step", "From 1"},
                     {"loss", MetricUnit::kNone, "loss", "Mean cross entropy of the global batch, in nats"},
                     {"gradient_norm", MetricUnit::kNone, "gradient norm", "Of all gradients"},
                     {"step_time_s", MetricUnit::kSeconds, "time", "Of the slowest rank"}});
  for (std::size_t i = 0; i < records.front().steps.size(); ++i) {
    const StepRecord& step = records.front().steps[i];
    table.add_row({static_cast<std::int64_t>(i + 1), step.loss, step.gradient_norm, step_time(records, i).value()});
  }
  return table;
}

MetricTable move_table(const std::vector<TrainingRecord>& records, const std::vector<PlanSwitch>& predicted) {
  const MetricShown shown = predicted.empty() ? MetricShown::kMachinesOnly : MetricShown::kEverywhere;
  MetricTable table({{"after_step", MetricUnit::kNone, "after step", "From 1"},
                     {"experts", MetricUnit::kNone, "experts", "That went to another rank, over all layers"},
                     {"sent_bytes", MetricUnit::kBytes, "sent", "By the rank that sends most"},
                     {"time_s", MetricUnit::kSeconds, "time", "Until the last rank is through"},
                     {"predicted_sent_bytes", MetricUnit::kBytes, "predicted to send", "By that rank", shown},
                     {"predicted_s", MetricUnit::kSeconds, "predicted", "By the laws of the cluster named", shown}});
  for (std::size_t i = 0; i < records.front().moves.size(); ++i) {
    std::int64_t experts = 0;
    Bytes sent;
    Seconds time;
    for (const TrainingRecord& record : records) {
      experts += record.moves[i].moves.experts;
      sent = std::max(sent, record.moves[i].moves.sent);
      time = std::max(time, record.moves[i].time);
    }
    const bool known = i < predicted.size();
    table.add_row({records.front().moves[i].before_step, experts, sent.count(), time.value(),
                   known ? MetricValue(predicted[i].sent.count()) : MetricValue(),
                   known ? MetricValue(predicted[i].time.value()) : MetricValue()});
  }
  return table;
}

// What ran how long in the last step, on the average rank.
MetricTable breakdown_table(const Program& program, const std::vector<TrainingRecord>& records) {
  std::array<double, kCategories> seconds{};
  std::array<std::int64_t, kCategories> operations{};
  for (std::size_t rank = 0; rank < records.size(); ++rank) {
    const StageId stage = program.layout->stage(RankId(static_cast<int>(rank)));
    for (const ExecutedOp& ran : records[rank].ops) {
      const auto category = static_cast<std::size_t>(category_of(program.op_at(stage, ran.call, ran.op)));
      seconds[category] += (ran.end - ran.start).value();
      ++operations[category];
    }
  }
  MetricTable table(
      {{"category", MetricUnit::kNone, "category", "As in moesim simulate"},
       {"time_s", MetricUnit::kSeconds, "time", "Of the average rank; communication includes waiting for the others"},
       {"operations", MetricUnit::kNone, "operations", "Of all ranks"}});
  for (std::size_t c = 0; c < seconds.size(); ++c)
    if (operations[c] > 0)
      table.add_row({std::string(category_name(static_cast<Category>(c))),
                     seconds[c] / static_cast<double>(records.size()), operations[c]});
  return table;
}

MetricTable memory_table(const Job& job, const std::vector<TrainingRecord>& records) {
  MetricTable table(
      {{"stage", MetricUnit::kNone, "stage", "Pipeline stage"},
       {"predicted_bytes", MetricUnit::kBytes, "predicted", "By the memory walk"},
       {"states_bytes", MetricUnit::kBytes, "states", "Weights, gradients, optimizer of its fullest rank"},
       {"tensors_bytes", MetricUnit::kBytes, "tensors", "Activations and their gradients, at the peak"},
       {"staging_bytes", MetricUnit::kBytes, "staging",
        "Messages and maps that the program does not name, at the peak"},
       {"pool_bytes", MetricUnit::kBytes, "pool", "Taken from the device"}});
  for (std::size_t stage = 0; stage < job.memory.stages.size(); ++stage) {
    MemoryUse most;
    for (std::size_t rank = 0; rank < records.size(); ++rank) {
      if (job.program.layout->stage(RankId(static_cast<int>(rank))).index() != stage) continue;
      const MemoryUse& use = records[rank].memory;
      most.states = std::max(most.states, use.states);
      most.tensors = std::max(most.tensors, use.tensors);
      most.staging = std::max(most.staging, use.staging);
      most.pool = std::max(most.pool, use.pool);
    }
    table.add_row({static_cast<std::int64_t>(stage), job.memory.stages[stage].peak.count(), most.states.count(),
                   most.tensors.count(), most.staging.count(), most.pool.count()});
  }
  return table;
}

}  // namespace

Seconds median_step_time(const std::vector<TrainingRecord>& records) {
  const std::size_t steps = records.front().steps.size();
  std::vector<double> times;
  for (std::size_t step = steps > 1 ? 1 : 0; step < steps; ++step) times.push_back(step_time(records, step).value());
  return Seconds(quantile(std::move(times), 0.5));
}

void describe_execution(Report& report, const Job& job, const World& world, const std::vector<TrainingRecord>& records,
                        const std::vector<PlanSwitch>& predicted) {
  report.inputs.push_back(input_record("plan", job.plan_path));
  report.inputs.push_back(input_record("model", job.model_source));
  if (!job.trace_source.empty()) report.inputs.push_back(input_record("trace", job.trace_source));
  report.add_record("run", "", run_table(job, world, records));
  report.add_rows("steps", "Steps", step_table(records)).shown =
      records.front().steps.size() > kStepsForPeople ? SectionShown::kMachinesOnly : SectionShown::kEverywhere;
  if (!records.front().moves.empty()) report.add_rows("moves", "Experts that moved", move_table(records, predicted));
  report.add_rows("breakdown", "Where the time of the last step went", breakdown_table(job.program, records));
  report.add_rows("memory", "Memory by stage", memory_table(job, records));
  report.notes.insert(report.notes.end(), job.notes.begin(), job.notes.end());
}

}  // namespace moesim
