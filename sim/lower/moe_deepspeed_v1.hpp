#pragma once

#include "sim/lower/moe_schedule.hpp"

namespace moesim {

[[nodiscard]] const MoeSchedule& deepspeed_v1();

}  // namespace moesim
