#pragma once

#include "sim/lower/moe_schedule.hpp"

namespace moesim {

[[nodiscard]] const MoeSchedule& parm_s2();

}  // namespace moesim
