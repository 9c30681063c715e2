#include "exec/bench/sampling.hpp"

#include <algorithm>
#include <cmath>
#include <variant>

namespace moesim {

SampleRules rules_for(const BenchWork& work, const SampleRules& rules, Seconds barrier) {
  constexpr double kBarriersInASample = 10;
  SampleRules result = rules;
  if (std::holds_alternative<CollectiveWork>(work))
    result.shortest_sample = std::max(rules.shortest_sample, barrier * kBarriersInASample);
  return result;
}

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
