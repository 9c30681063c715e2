#include "sim/cli/plan_metrics.hpp"

#include <algorithm>
#include <utility>

namespace moesim {

std::vector<Metric> plan_metrics(const Plan& plan) {
  const ParallelSizes& s = plan.sizes();
  const auto size = [](const char* key, const char* title, int value, const char* description) {
    return Metric{{key, MetricUnit::kNone, title, description}, std::int64_t{value}};
  };
  return {
      size("layout.tp", "TP", s.tp, "Tensor parallelism of the dense part"),
      size("layout.cp", "CP", s.cp, "Context parallelism"),
      size("layout.pp", "PP", s.pp, "Pipeline stages"),
      size("layout.vpp", "VPP", s.vpp, "Model chunks per stage"),
      size("layout.dp", "DP", s.dp, "Data parallelism of the dense part"),
      size("layout.ep", "EP", s.ep, "Expert parallelism"),
      size("layout.esp", "ESP", s.esp, "Shards of one expert (Megatron's ETP)"),
      size("layout.edp", "EDP", s.edp, "Replicas of an expert shard"),
      size("micro_batch", "MBS", plan.micro_batch, "Sequences of a micro-batch"),
      {{"micro_batches", MetricUnit::kNone, "micro-batches", "Per rank and step", MetricShown::kMachinesOnly},
       std::int64_t{plan.micro_batches()}},
      {{"pipeline", MetricUnit::kNone, "schedule", "Of the pipeline"}, plan.pipeline},
      {{"recompute", MetricUnit::kNone, "recompute", "What the backward pass computes again"},
       std::string(recompute_name(plan.recompute))},
      {{"zero_dense", MetricUnit::kNone, "ZeRO", "Stage for the dense parameters"},
       std::int64_t{static_cast<int>(plan.zero_dense)}},
      {{"zero_expert", MetricUnit::kNone, "ZeRO exp.", "Stage for the experts' parameters"},
       std::int64_t{static_cast<int>(plan.zero_expert)}},
      {{"moe_schedule", MetricUnit::kNone, "MoE schedule", "Of one MoE layer", MetricShown::kMachinesOnly},
       plan.moe_schedule},
      {{"moe_degree", MetricUnit::kNone, "pieces", "That it cuts token copies into; 0: its own number",
        MetricShown::kMachinesOnly},
       std::int64_t{plan.moe_degree}},
      {{"moe_backward_degree", MetricUnit::kNone, "pieces back", "The same in the backward pass; 0: as forward",
        MetricShown::kMachinesOnly},
       std::int64_t{plan.moe_backward_degree}},
      {{"moe_shadows", MetricUnit::kNone, "shadows", "Experts of each MoE layer that it shadows",
        MetricShown::kMachinesOnly},
       std::int64_t{plan.moe_shadows}},
      {{"all_to_all", MetricUnit::kNone, "all-to-all", "Algorithm of the token exchange", MetricShown::kMachinesOnly},
       std::string(exchange_algorithm_name(plan.all_to_all))},
      {{"all_reduce", MetricUnit::kNone, "all-reduce", "Algorithm of all-reduces", MetricShown::kMachinesOnly},
       std::string(algorithm_name(plan.all_reduce))}};
}

std::vector<Metric> step_metrics(const StepMetrics& m) {
  constexpr MetricShown kHidden = MetricShown::kMachinesOnly;
  return {
      {{"step_time_s", MetricUnit::kSeconds, "step", "One training step"}, m.step_time.value()},
      {{"tokens_per_s_per_gpu", MetricUnit::kTokensPerSecond, "tok/s/GPU", "Tokens per second and GPU"},
       m.tokens_per_second_per_gpu},
      {{"model_flops_per_s_per_gpu", MetricUnit::kFlopsPerSecond, "model FLOP/s", "Per GPU, recomputation not counted",
        kHidden},
       m.model_flops_per_second_per_gpu},
      {{"mfu", MetricUnit::kRatio, "MFU", "Model FLOP/s over the peak of the precision's GEMM format"}, m.mfu},
      {{"peak_memory_bytes", MetricUnit::kBytes, "memory", "Of the fullest stage, without the framework's reserve"},
       m.peak_memory.count()},
      {{"fits", MetricUnit::kNone, "fits", "With 4 GiB for the framework"}, m.fits},
      {{"bubble_fraction", MetricUnit::kRatio, "bubble", "Waiting for neighbouring stages, mean over stages", kHidden},
       m.bubble_fraction},
      {{"expert_imbalance", MetricUnit::kFactor, "imbalance", "Busiest over average rank, mean over MoE layers",
        kHidden},
       m.expert_imbalance},
      {{"extrapolated_fraction", MetricUnit::kRatio, "extrapolated", "Operations outside their law's fitted range",
        kHidden},
       m.extrapolated_fraction}};
}

void add_record_row(MetricTable& table, const std::vector<Metric>& metrics, RowTone tone) {
  if (table.columns().empty()) {
    std::vector<MetricColumn> columns;
    for (const Metric& metric : metrics) columns.push_back(metric.column);
    table = MetricTable(std::move(columns));
  }
  std::vector<MetricValue> values;
  for (const Metric& metric : metrics) values.push_back(metric.value);
  table.add_row(std::move(values), tone);
}

MetricTable breakdown_table(const StepMetrics& metrics) {
  MetricTable table({{"category", MetricUnit::kNone, "category", "Stable name"},
                     {"compute_s", MetricUnit::kSeconds, "computing", "The compute stream runs it"},
                     {"exposed_s", MetricUnit::kSeconds, "exposed", "The compute stream waits for it"},
                     {"share", MetricUnit::kRatio, "share", "Of the step"},
                     {"description", MetricUnit::kNone, "what it is", "In words"}});
  const StepBreakdown& b = metrics.breakdown;
  std::vector<std::pair<double, int>> order;
  for (int c = 0; c < kCategories; ++c) {
    const auto i = static_cast<std::size_t>(c);
    const double time = (b.compute[i] + b.exposed[i]).value();
    if (time > 0) order.emplace_back(time, c);
  }
  std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& c) { return a.first > c.first; });
  for (const auto& [time, c] : order) {
    const auto i = static_cast<std::size_t>(c);
    const auto category = static_cast<Category>(c);
    table.add_row({std::string(category_name(category)), b.compute[i].value(), b.exposed[i].value(),
                   time / metrics.step_time.value(), std::string(category_description(category))});
  }
  if (b.other > Seconds(0))
    table.add_row({std::string("other"), 0.0, b.other.value(), b.other / metrics.step_time,
                   std::string("start-up and the wait at the end")});
  return table;
}

MetricTable memory_table(const MemoryReport& memory) {
  MetricTable table(
      {{"stage", MetricUnit::kNone, "stage", "Of the pipeline"},
       {"weights_bytes", MetricUnit::kBytes, "weights", "Resident parameters"},
       {"gradients_bytes", MetricUnit::kBytes, "gradients", "Main gradients"},
       {"optimizer_bytes", MetricUnit::kBytes, "optimizer", "Master weights and moments"},
       {"saved_activations_bytes", MetricUnit::kBytes, "activations", "Kept for backward passes, at the peak"},
       {"working_bytes", MetricUnit::kBytes, "working", "Of the running block, at the peak"},
       {"peak_bytes", MetricUnit::kBytes, "peak", "All together"},
       {"largest_holder", MetricUnit::kNone, "most held by", "Tensor that holds most saved activations"}});
  for (std::size_t stage = 0; stage < memory.stages.size(); ++stage) {
    const StageMemory& m = memory.stages[stage];
    table.add_row({static_cast<std::int64_t>(stage), m.weights.count(), m.gradients.count(), m.optimizer.count(),
                   m.saved_activations.count(), m.working.count(), m.peak.count(),
                   m.holders.empty() ? MetricValue() : MetricValue(std::string(m.holders.front().name))});
  }
  return table;
}

}  // namespace moesim
