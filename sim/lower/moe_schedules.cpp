// The list of MoE-layer schedules. Adding one: write its file, add it here.
#include <fmt/format.h>

#include <array>
#include <string>
#include <vector>

#include "base/text.hpp"
#include "sim/lower/moe_deepspeed_moe.hpp"
#include "sim/lower/moe_deepspeed_v0.hpp"
#include "sim/lower/moe_deepspeed_v1.hpp"
#include "sim/lower/moe_megatron_a2a.hpp"
#include "sim/lower/moe_parm_s1.hpp"
#include "sim/lower/moe_parm_s2.hpp"
#include "sim/lower/moe_schedule.hpp"

namespace moesim {

std::span<const MoeSchedule* const> moe_schedules() {
  static const std::array kSchedules = {&megatron_a2a(),  &parm_s1(),      &parm_s2(),
                                        &deepspeed_moe(), &deepspeed_v0(), &deepspeed_v1()};
  return kSchedules;
}

Result<const MoeSchedule*> find_moe_schedule(std::string_view name) {
  std::vector<std::string> names;
  for (const MoeSchedule* schedule : moe_schedules()) {
    if (schedule->name() == name) return schedule;
    names.emplace_back(schedule->name());
  }
  return usage_error(fmt::format("unknown MoE schedule '{}'{}", name, did_you_mean(name, names)),
                     fmt::format("one of {}", fmt::join(names, ", ")));
}

}  // namespace moesim
