#include "sim/lower/shadow_counts.hpp"

namespace moesim {
namespace {

bool can_shadow(const MoeSchedule& schedule, Plan plan, const MoeShape& shape, int count) {
  plan.moe_shadows = count;
  return schedule.shadows(plan, shape) == count && check_moe_schedule(schedule, plan, shape);
}

}  // namespace

std::vector<int> shadow_counts(const MoeSchedule& schedule, const Plan& plan, const MoeShape& shape,
                               const RoutedLoads& loads) {
  std::vector<int> counts = {0};
  const auto add = [&](int count) {
    if (can_shadow(schedule, plan, shape, count)) counts.push_back(count);
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

std::vector<int> few_shadows(const MoeShape& shape) {
  std::vector<int> counts = {0};
  for (const int count : {1, 2, 4})
    if (count * 8 <= shape.experts) counts.push_back(count);
  return counts;
}

std::vector<int> possible_shadows(const MoeSchedule& schedule, const Plan& plan, const MoeShape& shape,
                                  std::span<const int> wanted) {
  std::vector<int> counts;
  for (const int count : wanted)
    if (count == 0 || can_shadow(schedule, plan, shape, count)) counts.push_back(count);
  if (counts.empty()) counts.push_back(0);
  return counts;
}

}  // namespace moesim
