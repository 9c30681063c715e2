#include "sim/sweep/row.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "sim/report/json_printer.hpp"
#include "sim/sweep/field.hpp"

namespace moesim {
namespace {

enum class ColumnType : std::uint8_t { kWhole, kNumber, kWord, kYesNo };

struct TypedColumn {
  MetricColumn column;
  ColumnType type;
};

const std::vector<TypedColumn>& typed_columns() {
  using Unit = MetricUnit;
  using Type = ColumnType;
  static const std::vector<TypedColumn> kColumns = {
      {{"point", Unit::kNone, "point", "Number of the point, from 0"}, Type::kWhole},
      {{"name", Unit::kNone, "name", "Run name made of the layout"}, Type::kWord},
      {{"status", Unit::kNone, "status", "ok, invalid (the plan breaks a rule) or failed (a fault of moesim)"},
       Type::kWord},
      {{"model", Unit::kNone, "model", "As given"}, Type::kWord},
      {{"cluster", Unit::kNone, "cluster", "As given"}, Type::kWord},
      {{"nodes", Unit::kNone, "nodes", "Hosts"}, Type::kWhole},
      {{"trace", Unit::kNone, "trace", "As given; balanced: none"}, Type::kWord},
      {{"trace_origin", Unit::kNone, "trace origin",
        "recorded, synthetic (made up by a generator) or what-if (rewritten)"},
       Type::kWord},
      {{"tp", Unit::kNone, "TP", "Tensor parallelism"}, Type::kWhole},
      {{"cp", Unit::kNone, "CP", "Context parallelism"}, Type::kWhole},
      {{"pp", Unit::kNone, "PP", "Pipeline stages"}, Type::kWhole},
      {{"vpp", Unit::kNone, "VPP", "Model chunks per stage"}, Type::kWhole},
      {{"dp", Unit::kNone, "DP", "Data parallelism"}, Type::kWhole},
      {{"ep", Unit::kNone, "EP", "Expert parallelism"}, Type::kWhole},
      {{"esp", Unit::kNone, "ESP", "Shards of one expert"}, Type::kWhole},
      {{"edp", Unit::kNone, "EDP", "Replicas of an expert shard"}, Type::kWhole},
      {{"order", Unit::kNone, "order", "Dimensions, innermost first"}, Type::kWord},
      {{"sequence_parallel", Unit::kNone, "SP", "Along TP"}, Type::kYesNo},
      {{"seq_length", Unit::kNone, "seq", "Tokens of a sequence"}, Type::kWhole},
      {{"micro_batch", Unit::kNone, "MBS", "Sequences of a micro-batch"}, Type::kWhole},
      {{"global_batch", Unit::kNone, "GBS", "Sequences per step"}, Type::kWhole},
      {{"precision", Unit::kNone, "precision", "Recipe"}, Type::kWord},
      {{"pipeline", Unit::kNone, "pipeline", "Schedule"}, Type::kWord},
      {{"stage_layers", Unit::kNone, "layers", "Per virtual stage; none: as even as possible"}, Type::kWord},
      {{"moe_schedule", Unit::kNone, "MoE schedule", "Of the MoE layers"}, Type::kWord},
      {{"moe_degree", Unit::kNone, "pieces", "That it cuts token copies into; 0: its own number"}, Type::kWhole},
      {{"moe_backward_degree", Unit::kNone, "pieces back", "The same in the backward pass; 0: as forward"},
       Type::kWhole},
      {{"moe_shadows", Unit::kNone, "shadows", "Experts of each MoE layer that it shadows"}, Type::kWhole},
      {{"all_to_all", Unit::kNone, "all-to-all", "Algorithm of the token exchange"}, Type::kWord},
      {{"all_reduce", Unit::kNone, "all-reduce", "Algorithm of all-reduces"}, Type::kWord},
      {{"capacity_factor", Unit::kNone, "capacity", "0 drops nothing"}, Type::kNumber},
      {{"pad_to_capacity", Unit::kNone, "padded", "Experts are filled up to their capacity"}, Type::kYesNo},
      {{"recompute", Unit::kNone, "recompute", "none, selective or full"}, Type::kWord},
      {{"zero_dense", Unit::kNone, "ZeRO", "Of dense parameters"}, Type::kWhole},
      {{"zero_expert", Unit::kNone, "ZeRO experts", "Of experts"}, Type::kWhole},
      {{"grad_bucket_elements", Unit::kNone, "bucket", "Gradients per reduction"}, Type::kWhole},
      {{"overlap_grad_reduce", Unit::kNone, "overlap reduce", "Gradient reduction beside the backward pass"},
       Type::kYesNo},
      {{"grad_placement", Unit::kNone, "reductions", "Where the last backward passes reduce gradients"}, Type::kWord},
      {{"overlap_param_gather", Unit::kNone, "overlap gather", "Parameter gathering beside the forward pass"},
       Type::kYesNo},
      {{"step_time_s", Unit::kSeconds, "step time", "Of one training step"}, Type::kNumber},
      {{"tokens_per_s_per_gpu", Unit::kTokensPerSecond, "tokens/s/GPU", "Throughput"}, Type::kNumber},
      {{"mfu", Unit::kRatio, "MFU", "Model FLOPs of the peak"}, Type::kNumber},
      {{"peak_memory_bytes", Unit::kBytes, "peak memory", "Of the fullest stage"}, Type::kWhole},
      {{"fits", Unit::kNone, "fits", "Into the smallest device"}, Type::kYesNo},
      {{"bubble_fraction", Unit::kRatio, "bubble", "Mean idle time for neighbouring stages"}, Type::kNumber},
      {{"expert_imbalance", Unit::kFactor, "imbalance", "Busiest rank over the mean; 1 is balanced"}, Type::kNumber},
      {{"extrapolated_fraction", Unit::kRatio, "extrapolated", "Operations outside their law's fitted range"},
       Type::kNumber},
      {{"error", Unit::kNone, "error", "Why there is no result"}, Type::kWord},
  };
  return kColumns;
}

MetricValue known_size(int size) { return size > 0 ? MetricValue(std::int64_t{size}) : MetricValue(); }
MetricValue text_or_none(std::string text) { return text.empty() ? MetricValue() : MetricValue(std::move(text)); }

void append_plan(const PlanFile& file, const PointSources& sources, SweepRow& row) {
  const Plan& plan = file.plan;
  const ParallelSizes& s = plan.layout.sizes;
  row.insert(row.end(),
             {file.model, file.cluster, std::int64_t{sources.nodes},
              file.trace.empty() ? std::string(kBalancedRouting) : file.trace,
              sources.trace_origin ? MetricValue(std::string(name_of(*sources.trace_origin))) : MetricValue()});
  for (const int size : {s.tp, s.cp, s.pp, s.vpp, s.dp, s.ep, s.esp, s.edp}) row.push_back(known_size(size));
  row.insert(row.end(), {plan.layout.order,
                         plan.sequence_parallel,
                         plan.seq_length,
                         std::int64_t{plan.micro_batch},
                         std::int64_t{plan.global_batch},
                         plan.precision,
                         plan.pipeline,
                         text_or_none(fmt::format("{}", fmt::join(plan.stage_layers, " "))),
                         plan.moe_schedule,
                         std::int64_t{plan.moe_degree},
                         std::int64_t{plan.moe_backward_degree},
                         std::int64_t{plan.moe_shadows},
                         std::string(exchange_algorithm_name(plan.all_to_all)),
                         std::string(algorithm_name(plan.all_reduce)),
                         plan.capacity_factor,
                         plan.pad_to_capacity,
                         std::string(recompute_name(plan.recompute)),
                         std::int64_t{static_cast<int>(plan.zero_dense)},
                         std::int64_t{static_cast<int>(plan.zero_expert)},
                         plan.grad_bucket_elements,
                         plan.overlap_grad_reduce,
                         std::string(grad_placement_name(plan.grad_placement)),
                         plan.overlap_param_gather});
}

void append_metrics(const StepMetrics& m, SweepRow& row) {
  row.insert(row.end(), {m.step_time.value(), m.tokens_per_second_per_gpu, m.mfu, m.peak_memory.count(), m.fits,
                         m.bubble_fraction, m.expert_imbalance, m.extrapolated_fraction});
}
constexpr std::size_t kMetricColumns = 8;

Result<MetricValue> value_from_json(const nlohmann::json& value, const TypedColumn& typed) {
  if (value.is_null()) return MetricValue();
  if (typed.type == ColumnType::kWord && value.is_string()) return MetricValue(value.get<std::string>());
  if (typed.type == ColumnType::kYesNo && value.is_boolean()) return MetricValue(value.get<bool>());
  if (typed.type == ColumnType::kWhole && value.is_number_integer()) return MetricValue(value.get<std::int64_t>());
  if (typed.type == ColumnType::kNumber && value.is_number()) return MetricValue(value.get<double>());
  return invalid_input(fmt::format("'{}' has a value of the wrong kind", typed.column.key));
}

}  // namespace

std::string_view status_name(PointStatus status) {
  switch (status) {
    case PointStatus::kOk: return "ok";
    case PointStatus::kInvalid: return "invalid";
    case PointStatus::kFailed: return "failed";
  }
  return {};
}

std::span<const MetricColumn> sweep_columns() {
  static const std::vector<MetricColumn> kColumns = [] {
    std::vector<MetricColumn> columns;
    for (const TypedColumn& typed : typed_columns()) columns.push_back(typed.column);
    return columns;
  }();
  return kColumns;
}

std::size_t sweep_column(std::string_view key) {
  const auto columns = sweep_columns();
  const auto at = std::find_if(columns.begin(), columns.end(), [key](const MetricColumn& c) { return c.key == key; });
  MOESIM_ASSERT(at != columns.end());
  return static_cast<std::size_t>(at - columns.begin());
}

SweepRow make_row(std::int64_t point, const PlanFile& file, const PointSources& sources, const PointOutcome& outcome) {
  SweepRow row = {point, run_name(file.plan), std::string(status_name(outcome.status))};
  append_plan(file, sources, row);
  if (outcome.status == PointStatus::kOk)
    append_metrics(outcome.metrics, row);
  else
    row.resize(row.size() + kMetricColumns);
  row.push_back(text_or_none(outcome.error));
  MOESIM_ASSERT(row.size() == sweep_columns().size());
  return row;
}

std::string row_to_json(const SweepRow& row) {
  nlohmann::ordered_json json;
  const auto columns = sweep_columns();
  for (std::size_t i = 0; i < columns.size(); ++i) json[columns[i].key] = to_json(row[i]);
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

Result<SweepRow> row_from_json(std::string_view line) {
  const nlohmann::json json = nlohmann::json::parse(line, nullptr, false);
  if (!json.is_object() || json.size() != typed_columns().size()) return invalid_input("is not a row of a sweep");
  SweepRow row;
  for (const TypedColumn& typed : typed_columns()) {
    const auto found = json.find(typed.column.key);
    if (found == json.end()) return invalid_input(fmt::format("lacks '{}'", typed.column.key));
    MOESIM_ASSIGN(MetricValue value, value_from_json(*found, typed));
    row.push_back(std::move(value));
  }
  if (!std::holds_alternative<std::int64_t>(row.front())) return invalid_input("lacks the number of its point");
  return row;
}

std::int64_t point_of(const SweepRow& row) { return std::get<std::int64_t>(row.front()); }

}  // namespace moesim
