#pragma once

#include "sim/lower/moe_schedule.hpp"

namespace moesim {

[[nodiscard]] const MoeSchedule& deepspeed_moe();
[[nodiscard]] const MoeSchedule& deepspeed_moe_ar();

}  // namespace moesim
