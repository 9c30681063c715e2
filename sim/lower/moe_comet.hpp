#pragma once

#include "sim/lower/moe_schedule.hpp"

namespace moesim {

[[nodiscard]] const MoeSchedule& comet();

}  // namespace moesim
