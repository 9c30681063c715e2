// Which plans the executor can run. What it cannot is refused here, all reasons at once, and never approximated.
#pragma once

#include "base/error.hpp"
#include "sim/plan/plan.hpp"

namespace moesim {

// The plan must have passed check_plan(). A usage error lists everything of plan and model that is not executed.
[[nodiscard]] Status check_executable(const Plan& plan, const ModelShape& model);

}  // namespace moesim
