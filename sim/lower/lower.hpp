// Plan -> Program: the whole training step.
#pragma once

#include <memory>

#include "base/error.hpp"
#include "sim/program/program.hpp"

namespace moesim {

// The plan must have passed check_plan() for this model and layout. `loads` must cover the model's MoE layers.
[[nodiscard]] Result<Program> lower(const Plan& plan, const ModelShape& model, std::shared_ptr<const Layout> layout,
                                    std::shared_ptr<const RoutedLoads> loads);

}  // namespace moesim
