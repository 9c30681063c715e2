#include "sim/layer/shadow_counts.hpp"

namespace moesim {

std::vector<int> shadow_counts(const MoeSchedule& schedule, const Plan& plan, const MoeShape& shape,
                               const RoutedLoads& loads) {
  std::vector<int> counts = {0};
  const auto add = [&](int count) {
    Plan with = plan;
    with.moe_shadows = count;
    if (schedule.shadows(with, shape) == count && check_moe_schedule(schedule, with, shape)) counts.push_back(count);
  };
  if (loads.balanced) return counts;
  const auto experts = static_cast<int>(shape.experts);
  for (int power = 1; power < experts; power *= 2) {
    add(power);
    if (power >= 2 && power / 2 * 3 < experts) add(power / 2 * 3);
  }
  add(experts);
  return counts;
}

}  // namespace moesim
