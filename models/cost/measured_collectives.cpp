#include "models/cost/measured_collectives.hpp"

#include <algorithm>

namespace moesim {

const CollectiveSeries* find_series(const MeasuredLaws& measured, CollectiveKind kind, const GroupShape& shape,
                                    CollectiveAlgorithm algorithm) {
  const auto found = std::find_if(measured.collectives.begin(), measured.collectives.end(), [&](const auto& series) {
    return series.kind == kind && series.shape == shape && series.exchange == ExchangeAlgorithm::kLinear &&
           (algorithm == CollectiveAlgorithm::kAuto || algorithm == series.algorithm);
  });
  return found == measured.collectives.end() ? nullptr : &*found;
}

const CollectiveSeries* find_exchange_series(const MeasuredLaws& measured, const GroupShape& shape,
                                             ExchangeAlgorithm exchange) {
  const auto found = std::find_if(measured.collectives.begin(), measured.collectives.end(), [&](const auto& series) {
    return series.kind == CollectiveKind::kAllToAll && series.shape == shape && series.exchange == exchange;
  });
  return found == measured.collectives.end() ? nullptr : &*found;
}

void take_measured_time(CommCost& cost, const CollectiveSeries& series, double bytes) {
  const Seconds by_law = cost.time;
  cost.time = series.time.at(bytes);
  cost.extrapolated = !series.time.covers(bytes);
  if (cost.time.value() <= 0) return;
  // A port cannot be more than full: measured times below the law's say that its rate was taken too low.
  for (float& share : cost.port_share) share = std::min(1.0F, share * static_cast<float>(by_law / cost.time));
}

}  // namespace moesim
