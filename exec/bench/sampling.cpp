#include "exec/bench/sampling.hpp"

#include <algorithm>
#include <cmath>

namespace moesim {

int operations_per_sample(const SampleRules& rules, Seconds one) {
  const double wanted = std::ceil(rules.shortest_sample.value() / std::max(one.value(), 1e-9));
  return static_cast<int>(std::clamp(wanted, 1.0, static_cast<double>(rules.most_operations)));
}

std::optional<SamplesEnd> SampleSeries::ended(Seconds spent) const {
  const int count = static_cast<int>(seconds_.size());
  if (count >= rules_.fewest && relative_spread(seconds_) <= rules_.spread) return SamplesEnd::kSteady;
  if (count >= rules_.most) return SamplesEnd::kMost;
  if (spent >= budget_ && count >= rules_.fewest_without_time) return SamplesEnd::kBudget;
  return std::nullopt;
}

}  // namespace moesim
