#include "calibration/fit.hpp"

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/error.hpp"

namespace moesim {
namespace {

// Predictions by one set of parameters; rows of one cluster share a model.
class Predictor {
 public:
  explicit Predictor(const LawParameters& parameters) : parameters_(parameters) {}
  double operator()(const Measurement& row) {
    if (row.view.get() != view_) {
      view_ = row.view.get();
      model_.emplace(*view_, std::vector<LawParameters>(view_->devices().size(), parameters_));
    }
    return row.predict(*model_);
  }

 private:
  const LawParameters& parameters_;
  const ClusterView* view_ = nullptr;
  std::optional<CostModel> model_;
};

double loss(const LawParameters& parameters, std::span<const Measurement* const> rows) {
  constexpr double kShort = 10e-6;
  double sum = 0;
  double weights = 0;
  Predictor predict(parameters);
  for (const Measurement* row : rows) {
    const double weight = std::log1p(row->measured / kShort);
    sum += weight * std::abs(std::log(predict(*row) / row->measured));
    weights += weight;
  }
  return weights > 0 ? sum / weights : 0;
}

LawParameters descend(LawParameters best, double first_step, std::span<const FreeParameter> free,
                      std::span<const Measurement* const> rows) {
  constexpr double kLastStep = 0.004;
  constexpr int kMaxRounds = 60;
  double best_loss = loss(best, rows);
  const auto attempt = [&](const FreeParameter& parameter, double value) {
    const ParameterField& field = *parameter.field;
    LawParameters candidate = best;
    field.set(candidate, parameter.section->link, std::clamp(value, field.smallest, field.largest));
    const double candidate_loss = loss(candidate, rows);
    if (candidate_loss >= best_loss - 1e-12) return false;
    best = std::move(candidate);
    best_loss = candidate_loss;
    return true;
  };
  int rounds = 0;
  for (double step = first_step; step > kLastStep && rounds < kMaxRounds; ++rounds) {
    bool gained = false;
    for (const FreeParameter& parameter : free) {
      const double value = parameter.field->get(best, parameter.section->link);
      // A parameter that reached zero could not grow again by factors alone.
      const double scale = value > 0 ? value : parameter.field->largest * 1e-3;
      gained = attempt(parameter, scale * (1 + step)) || attempt(parameter, scale / (1 + step)) || gained;
    }
    if (!gained) step /= 2;
  }
  return best;
}

// Coordinate descent ends in the nearest hollow; which one that is depends on the first step.
LawParameters best_descent(const LawParameters& start, std::span<const FreeParameter> free,
                           std::span<const Measurement* const> rows) {
  LawParameters best = start;
  for (const double first_step : {1.0, 0.5, 0.2, 0.07}) {
    LawParameters candidate = descend(descend(start, first_step, free, rows), 0.3, free, rows);
    if (loss(candidate, rows) < loss(best, rows)) best = std::move(candidate);
  }
  return best;
}

std::vector<const Measurement*> usable(std::span<const Measurement> rows) {
  std::vector<const Measurement*> list;
  for (const Measurement& row : rows)
    if (row.skipped.empty()) list.push_back(&row);
  return list;
}

Residuals residuals_of(const LawParameters& parameters, std::span<const Measurement* const> rows) {
  std::vector<double> errors;
  std::vector<double> sizes;
  Predictor predict(parameters);
  for (const Measurement* row : rows) {
    errors.push_back(predict(*row) / row->measured - 1);
    sizes.push_back(std::abs(errors.back()));
  }
  return {.points = static_cast<int>(errors.size()),
          .median = quantile(sizes, 0.5),
          .p90 = quantile(sizes, 0.9),
          .bias = quantile(errors, 0.5)};
}

}  // namespace

std::vector<FreeParameter> free_parameters(std::span<const std::pair<std::string_view, std::string_view>> names) {
  std::vector<FreeParameter> free;
  for (const auto& [section_name, field_name] : names) {
    const ParameterSection* section = find_section(section_name);
    MOESIM_ASSERT(section != nullptr);
    const ParameterField* field = find_field(*section, field_name);
    MOESIM_ASSERT(field != nullptr);
    free.push_back({section, field});
  }
  return free;
}

Residuals residuals(const LawParameters& parameters, std::span<const Measurement> rows) {
  return residuals_of(parameters, usable(rows));
}

LawParameters best_parameters(const LawParameters& start, std::span<const FreeParameter> free,
                              std::span<const Measurement> rows) {
  return best_descent(start, free, usable(rows));
}

FitResult fit(const LawParameters& start, std::span<const FreeParameter> free, std::span<const Measurement> rows) {
  const std::vector<const Measurement*> all = usable(rows);
  std::vector<const Measurement*> half;
  std::vector<const Measurement*> other_half;
  for (std::size_t i = 0; i < all.size(); ++i) (i % 2 == 0 ? half : other_half).push_back(all[i]);
  FitResult result;
  result.parameters = best_descent(start, free, all);
  result.residuals = residuals_of(result.parameters, all);
  result.held_out = residuals_of(best_descent(start, free, half), other_half);
  return result;
}

}  // namespace moesim
