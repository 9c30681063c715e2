// Why a plan stands where it stands, in one line.
#pragma once

#include <string>

#include "sim/simulate/step.hpp"

namespace moesim {

// What fills its step.
[[nodiscard]] std::string reason_of_winner(const StepMetrics& metrics);
// What it loses against the winner.
[[nodiscard]] std::string reason_against(const StepMetrics& metrics, const StepMetrics& winner);

}  // namespace moesim
