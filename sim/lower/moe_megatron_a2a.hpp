#pragma once

#include "sim/lower/moe_schedule.hpp"

namespace moesim {

[[nodiscard]] const MoeSchedule& megatron_a2a();

}  // namespace moesim
