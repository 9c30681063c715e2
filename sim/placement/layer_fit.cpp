#include "sim/placement/layer_fit.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace moesim {
namespace {

constexpr std::size_t kTerms = 3;  // fixed, work, copies
constexpr std::size_t kFewestRows = 8;
constexpr int kReweightings = 60;
constexpr double kLeastResidual = 1e-3;
constexpr std::array<double, 12> kRowsPerBusyExpert = {0, 100, 200, 300, 400, 600, 800, 1000, 1600, 2400, 3200, 6400};

using Terms = std::array<double, kTerms>;

// What one measurement says, for every k.
struct FitRow {
  std::array<double, kRowsPerBusyExpert.size()> work{};
  double copies = 0;
  double seconds = 0;
};

double busiest_copies(const RoutedCopies& routed, ExchangeRounds rounds) {
  const int n = routed.devices;
  std::vector<double> out(static_cast<std::size_t>(n), 0.0);
  double sum = 0;
  double busiest_in = 0;
  const auto close_round = [&] {
    sum += std::max(busiest_in, *std::max_element(out.begin(), out.end()));
    busiest_in = 0;
    std::fill(out.begin(), out.end(), 0.0);
  };
  if (rounds == ExchangeRounds::kFused) {
    const std::vector<double> matrix = copy_matrix(routed);
    for (int to = 0; to < n; ++to) {
      double in = 0;
      for (int from = 0; from < n; ++from) {
        if (from == to) continue;
        const double copies = matrix[static_cast<std::size_t>(from) * out.size() + static_cast<std::size_t>(to)];
        in += copies;
        out[static_cast<std::size_t>(from)] += copies;
      }
      busiest_in = std::max(busiest_in, in);
    }
    close_round();
    return sum;
  }
  for (int slot = 0; slot < routed.slots_per_device; ++slot) {
    for (int to = 0; to < n; ++to) {
      const auto from = routed.into(to, slot);
      double in = 0;
      for (std::size_t source = 0; source < from.size(); ++source) {
        if (static_cast<int>(source) == to) continue;
        in += from[source];
        out[source] += from[source];
      }
      busiest_in = std::max(busiest_in, in);
    }
    close_round();
  }
  return sum;
}

FitRow fit_row(const RoutedCopies& routed, ExchangeRounds rounds, Seconds time) {
  FitRow row;
  row.seconds = time.value();
  row.copies = busiest_copies(routed, rounds);
  for (int device = 0; device < routed.devices; ++device) {
    double rows = 0;
    int busy = 0;
    for (int slot = 0; slot < routed.slots_per_device; ++slot) {
      double arrived = 0;
      for (const double from : routed.into(device, slot)) arrived += from;
      rows += arrived;
      busy += arrived > 0 ? 1 : 0;
    }
    for (std::size_t i = 0; i < row.work.size(); ++i)
      row.work[i] = std::max(row.work[i], rows + kRowsPerBusyExpert[i] * busy);
  }
  return row;
}

// Least squares of the terms that are in use, by Gaussian elimination of the normal equations; the others are 0.
Terms solve(std::array<std::array<double, kTerms + 1>, kTerms> a, const std::array<bool, kTerms>& used) {
  for (std::size_t i = 0; i < kTerms; ++i) {
    if (used[i]) continue;
    for (std::size_t j = 0; j < kTerms; ++j) a[i][j] = a[j][i] = 0;
    a[i][i] = 1;
    a[i][kTerms] = 0;
  }
  for (std::size_t pivot = 0; pivot < kTerms; ++pivot) {
    if (std::abs(a[pivot][pivot]) < 1e-30) continue;  // a term that no measurement tells from the others
    for (std::size_t row = 0; row < kTerms; ++row) {
      if (row == pivot) continue;
      const double factor = a[row][pivot] / a[pivot][pivot];
      for (std::size_t column = pivot; column <= kTerms; ++column) a[row][column] -= factor * a[pivot][column];
    }
  }
  Terms result{};
  for (std::size_t i = 0; i < kTerms; ++i) result[i] = std::abs(a[i][i]) < 1e-30 ? 0 : a[i][kTerms] / a[i][i];
  return result;
}

Terms terms_of(const FitRow& row, std::size_t k, const Terms& scale) {
  return {scale[0] / row.seconds, row.work[k] * scale[1] / row.seconds, row.copies * scale[2] / row.seconds};
}

double relative_error(const Terms& terms, const Terms& constants) {
  double predicted = 0;
  for (std::size_t i = 0; i < kTerms; ++i) predicted += terms[i] * constants[i];
  return predicted - 1;
}

struct Constants {
  Terms values{};
  double error = std::numeric_limits<double>::infinity();
};

Constants fit_constants(std::span<const FitRow> rows, std::size_t k, const LayerFitOptions& options) {
  Terms scale = {0, 0, 0};  // so that all three terms are about 1
  for (const FitRow& row : rows) {
    scale[0] = std::max(scale[0], row.seconds);
    scale[1] = std::max(scale[1], row.work[k]);
    scale[2] = std::max(scale[2], row.copies);
  }
  scale = {scale[0], scale[1] > 0 ? scale[0] / scale[1] : 0, scale[2] > 0 ? scale[0] / scale[2] : 0};
  std::array<bool, kTerms> used = {true, true, true};
  Terms known{};
  if (options.per_row) {
    used[1] = false;
    known[1] = scale[1] > 0 ? options.per_row->value() / scale[1] : 0;
  }
  std::vector<double> weights(rows.size(), 1.0);
  Terms constants{};
  for (int round = 0; round < kReweightings; ++round) {
    std::array<std::array<double, kTerms + 1>, kTerms> normal{};
    for (std::size_t r = 0; r < rows.size(); ++r) {
      const Terms terms = terms_of(rows[r], k, scale);
      const double to_explain = -relative_error(terms, known);
      for (std::size_t i = 0; i < kTerms; ++i) {
        for (std::size_t j = 0; j < kTerms; ++j) normal[i][j] += weights[r] * terms[i] * terms[j];
        normal[i][kTerms] += weights[r] * terms[i] * to_explain;
      }
    }
    constants = solve(normal, used);
    for (auto lowest = std::min_element(constants.begin(), constants.end()); *lowest < 0;
         lowest = std::min_element(constants.begin(), constants.end())) {
      used[static_cast<std::size_t>(lowest - constants.begin())] = false;
      constants = solve(normal, used);
    }
    for (std::size_t i = 0; i < kTerms; ++i) constants[i] += known[i];
    for (std::size_t r = 0; r < rows.size(); ++r)
      weights[r] = 1 / std::max(kLeastResidual, std::abs(relative_error(terms_of(rows[r], k, scale), constants)));
  }
  Constants result{{}, 0};
  for (const FitRow& row : rows) result.error += std::abs(relative_error(terms_of(row, k, scale), constants));
  result.error /= static_cast<double>(rows.size());
  for (std::size_t i = 0; i < kTerms; ++i) result.values[i] = constants[i] * scale[i];
  return result;
}

Status check_rows(std::span<const MeasuredLayer> rows, std::size_t devices) {
  constexpr const char* kWhere = "measured layer times";
  if (rows.size() < kFewestRows)
    return invalid_input(fmt::format("{} measured layers are too few for four numbers", rows.size()), kWhere,
                         fmt::format("give at least {}", kFewestRows));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const MeasuredLayer& row = rows[i];
    if (!(row.time > Seconds(0))) return invalid_input(fmt::format("measurement {} has no time above 0", i), kWhere);
    MOESIM_ASSERT(row.placement != nullptr && row.placement->is_permutation());
    if (static_cast<std::size_t>(row.counts.devices) != devices || row.placement->devices() != row.counts.devices)
      return invalid_input(fmt::format("measurement {} is of another number of devices", i), kWhere);
  }
  return {};
}

LayerTimeModel fitted_model(const Constants& best, std::size_t k, ExchangeRounds rounds,
                            std::vector<std::int32_t> node_of_device) {
  LayerTimeModel model;
  const std::size_t n = node_of_device.size();
  model.fixed = Seconds(best.values[0]);
  model.compute = TimeCurve::line(Seconds(0), Seconds(best.values[1]));
  model.rows_per_busy_expert = kRowsPerBusyExpert[k];
  model.speed.assign(n, 1.0);
  model.node_of_device = std::move(node_of_device);
  model.row = Bytes(1);
  model.rounds = rounds;
  ExchangeTier tier;
  for (std::size_t d = 0; d < n; ++d) tier.port_of_device.push_back(static_cast<std::int32_t>(d));
  tier.out_s_per_byte = tier.in_s_per_byte = std::vector<double>(n, best.values[2] / model.exchanges);
  tier.curve = TimeCurve::line(Seconds(0), Seconds(1));
  model.tiers.push_back(std::move(tier));
  model.meets_at.assign(n * n, 0);
  for (std::size_t d = 0; d < n; ++d) model.meets_at[d * n + d] = -1;
  return model;
}

}  // namespace

Result<LayerFit> fit_layer_time(std::span<const MeasuredLayer> rows, std::vector<std::int32_t> node_of_device,
                                const LayerFitOptions& options) {
  MOESIM_TRY(check_rows(rows, node_of_device.size()));
  TokenRouter router(node_of_device);
  Constants best;
  std::size_t best_k = 0;
  ExchangeRounds best_rounds = ExchangeRounds::kFused;
  for (const ExchangeRounds rounds : {ExchangeRounds::kFused, ExchangeRounds::kPerSlot}) {
    std::vector<FitRow> prepared;
    prepared.reserve(rows.size());
    for (const MeasuredLayer& row : rows)
      prepared.push_back(fit_row(router.route(row.counts, {*row.placement, {}, TokenSplit::kEven}), rounds, row.time));
    for (std::size_t k = 0; k < kRowsPerBusyExpert.size(); ++k) {
      const Constants tried = fit_constants(prepared, k, options);
      if (tried.error < best.error) best = tried, best_k = k, best_rounds = rounds;
    }
  }
  if (!std::isfinite(best.error))
    return invalid_input("the times differ by more than numbers can tell", "measured layer times",
                         "look for one that is far too small or too large");
  LayerFit fit;
  fit.model = fitted_model(best, best_k, best_rounds, std::move(node_of_device));
  fit.mean_error = best.error;
  fit.per_row = Seconds(best.values[1]);
  fit.per_copy = Seconds(best.values[2]);
  return fit;
}

}  // namespace moesim
