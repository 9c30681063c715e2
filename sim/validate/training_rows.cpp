#include "sim/validate/training_rows.hpp"

#include <fmt/format.h>

#include <optional>
#include <utility>

#include "base/text.hpp"
#include "sim/validate/row_model.hpp"
#include "sim/validate/training_row.hpp"

namespace moesim {
namespace {

struct Measured {
  std::string metric;
  double value = 0;
  Better better = Better::kLower;
};

std::optional<Measured> measured_speed(const TrainingRow& row) {
  const auto given = [](const std::optional<double>& value) { return value && *value > 0; };
  if (given(row.step_time)) return Measured{"step_time_s", *row.step_time};
  if (given(row.tokens_per_second)) return Measured{"tokens_per_s_per_gpu", *row.tokens_per_second, Better::kHigher};
  const bool tflops_derived = mentions(row.derived, "tflops_per_gpu");
  if (given(row.tflops) && !(tflops_derived && given(row.mfu_percent)))
    return Measured{"tflops_per_gpu", *row.tflops, Better::kHigher};
  if (given(row.mfu_percent)) return Measured{"mfu_pct", *row.mfu_percent, Better::kHigher};
  return std::nullopt;
}

std::vector<Measured> measured_metrics(const TrainingRow& row) {
  std::vector<Measured> all;
  if (auto speed = measured_speed(row)) all.push_back(*std::move(speed));
  if (row.peak_memory_gib && *row.peak_memory_gib > 0)
    all.push_back({"peak_mem_gib", *row.peak_memory_gib, Better::kNeither});
  return all;
}

double predicted_value(const std::string& metric, const StepMetrics& metrics) {
  if (metric == "step_time_s") return metrics.step_time.value();
  if (metric == "tokens_per_s_per_gpu") return metrics.tokens_per_second_per_gpu;
  if (metric == "tflops_per_gpu") return metrics.model_flops_per_second_per_gpu / 1e12;
  if (metric == "mfu_pct") return 100 * metrics.mfu;
  return metrics.peak_memory.value() / static_cast<double>(std::int64_t{1} << 30);
}

TrainingPrediction described(const TrainingRow& row) {
  TrainingPrediction prediction;
  prediction.compared.id = row.id;
  prediction.compared.quality = row.quality;
  prediction.compared.hardware = row.hardware;
  prediction.compared.rank_group = row.rank_group;
  prediction.source = row.source;
  prediction.framework = row.framework;
  prediction.model = row.model;
  prediction.is_moe = row.is_moe();
  return prediction;
}

struct Simulated {
  Plan plan;
  StepMetrics metrics;
};

// With the first of `choices` that fits, or with the last.
OrSkipped<Simulated> simulate_first_fitting(Plan plan, const ModelShape& model, const CostModel& costs,
                                            const std::vector<Recompute>& choices, RowNotes& notes) {
  StepOptions options;
  std::optional<StepMetrics> metrics;
  for (const Recompute choice : choices) {
    plan.recompute = choice;
    Result<SimulatedStep> step = simulate_step(plan, model, costs, nullptr, options);
    if (!step) return skipped("plan refused: " + step.error().what);
    metrics = step->metrics;
    if (metrics->fits) break;
  }
  if (choices.size() > 1)
    notes.push_back(fmt::format("recomputation not published: {}", recompute_name(plan.recompute)));
  if (!metrics->fits) notes.emplace_back("by our account this does not fit into the device's memory");
  return Simulated{std::move(plan), *metrics};
}

OrSkipped<Simulated> simulate_row(const TrainingRow& row, RowClusters& clusters, RowNotes& notes) {
  OrSkipped<Plan> plan = plan_of(row, notes);
  if (!plan) return skipped(plan.error());
  const OrSkipped<ModelShape> model = model_of(row, notes);
  if (!model) return skipped(model.error());
  const OrSkipped<std::shared_ptr<const RowCluster>> cluster = clusters.find(row);
  if (!cluster) return skipped(cluster.error());
  notes.insert(notes.end(), (*cluster)->notes.begin(), (*cluster)->notes.end());
  const std::vector<Recompute> choices = recompute_choices(row, notes);
  return simulate_first_fitting(std::move(*plan), *model, (*cluster)->costs, choices, notes);
}

void predict_row(const TrainingRow& row, RowClusters& clusters, std::vector<TrainingPrediction>& results) {
  TrainingPrediction prediction = described(row);
  const std::vector<Measured> measured = measured_metrics(row);
  prediction.compared.metric = measured.empty() ? "step_time_s" : measured.front().metric;
  if (measured.empty()) {
    prediction.compared.skipped = "no speed and no memory published";
    results.push_back(std::move(prediction));
    return;
  }
  OrSkipped<Simulated> simulated = simulate_row(row, clusters, prediction.notes);
  if (!simulated) {
    prediction.compared.skipped = std::move(simulated.error());
    prediction.compared.measured = measured.front().value;
    prediction.compared.better = measured.front().better;
    results.push_back(std::move(prediction));
    return;
  }
  prediction.plan = std::move(simulated->plan);
  prediction.metrics = simulated->metrics;
  for (const Measured& one : measured) {
    prediction.compared.metric = one.metric;
    prediction.compared.measured = one.value;
    prediction.compared.better = one.better;
    prediction.compared.predicted = predicted_value(one.metric, prediction.metrics);
    results.push_back(prediction);
  }
}

}  // namespace

Result<bool> is_training_file(const std::string& path) {
  MOESIM_ASSIGN(const CsvReader reader, CsvReader::open(path));
  return is_training_format(reader);
}

Result<std::vector<TrainingPrediction>> validate_training(const std::string& path, std::span<const Profile> profiles) {
  MOESIM_ASSIGN(CsvReader reader, CsvReader::open(path));
  return validate_training(reader, profiles);
}

Result<std::vector<TrainingPrediction>> validate_training(CsvReader& reader, std::span<const Profile> profiles) {
  if (!is_training_format(reader))
    return invalid_input("the columns are not those of a file of training runs", reader.place(),
                         "id, hardware, n_gpus, layers, hidden, seq_len, tp, pp, gbs, step_time_s and more");
  RowClusters clusters(profiles);
  std::vector<TrainingPrediction> results;
  while (true) {
    MOESIM_ASSIGN(const bool more, reader.next());
    if (!more) return results;
    MOESIM_ASSIGN(const TrainingRow row, read_training_row(reader));
    predict_row(row, clusters, results);
  }
}

}  // namespace moesim
