#include "sim/placement/predictor.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/text.hpp"

namespace moesim {
namespace {

constexpr std::size_t kWindow = 8;
constexpr double kNewestShare = 0.5;
constexpr std::array<std::string_view, 4> kPredictorNames = {"last", "mean", "ema", "linear"};

}  // namespace

std::string_view predictor_name(PredictorKind kind) { return kPredictorNames[static_cast<std::size_t>(kind)]; }

std::vector<std::string_view> predictor_names() { return {kPredictorNames.begin(), kPredictorNames.end()}; }

Result<PredictorKind> parse_predictor(std::string_view name) {
  const auto* const found = std::find(kPredictorNames.begin(), kPredictorNames.end(), name);
  if (found != kPredictorNames.end()) return static_cast<PredictorKind>(found - kPredictorNames.begin());
  return usage_error(fmt::format("unknown load predictor '{}'", name),
                     fmt::format("one of {}", fmt::join(kPredictorNames, ", ")));
}

void LoadPredictor::observe(std::int64_t iteration, std::span<const double> counts) {
  MOESIM_ASSERT(counts.size() == counts_);
  if (kind_ == PredictorKind::kEma) {
    if (average_.empty())
      average_.assign(counts.begin(), counts.end());
    else
      for (std::size_t i = 0; i < counts_; ++i) average_[i] += kNewestShare * (counts[i] - average_[i]);
    return;
  }
  const std::size_t window = kind_ == PredictorKind::kLast ? 1 : kWindow;
  Record record;
  if (records_.size() == window) {
    record = std::move(records_.front());
    records_.pop_front();
  }
  record.iteration = iteration;
  record.counts.assign(counts.begin(), counts.end());
  records_.push_back(std::move(record));
}

void LoadPredictor::continue_line(double iteration) {
  const auto n = static_cast<double>(records_.size());
  double mean_at = 0;
  for (const Record& record : records_) mean_at += static_cast<double>(record.iteration) / n;
  double spread = 0;
  for (const Record& record : records_) {
    const double distance = static_cast<double>(record.iteration) - mean_at;
    spread += distance * distance;
  }
  // y(t) = sum_i c_i (1/n + (t - mean) (t_i - mean) / spread)
  for (const Record& record : records_) {
    const double slope =
        spread > 0 ? (iteration - mean_at) * (static_cast<double>(record.iteration) - mean_at) / spread : 0;
    const double weight = 1 / n + slope;
    for (std::size_t i = 0; i < counts_; ++i) predicted_[i] += weight * record.counts[i];
  }
  for (double& count : predicted_) count = std::max(count, 0.0);
}

std::span<const double> LoadPredictor::predict(double iteration) {
  switch (kind_) {
    case PredictorKind::kLast: MOESIM_ASSERT(!records_.empty()); return records_.back().counts;
    case PredictorKind::kEma: MOESIM_ASSERT(!average_.empty()); return average_;
    case PredictorKind::kMean:
    case PredictorKind::kLinear: break;
  }
  MOESIM_ASSERT(!records_.empty());
  predicted_.assign(counts_, 0.0);
  if (kind_ == PredictorKind::kLinear) {
    continue_line(iteration);
    return predicted_;
  }
  for (const Record& record : records_)
    for (std::size_t i = 0; i < counts_; ++i) predicted_[i] += record.counts[i] / static_cast<double>(records_.size());
  return predicted_;
}

}  // namespace moesim
