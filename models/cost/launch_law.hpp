// What the host needs to start one kernel on an idle device. A busy device hides it: the engine only charges
// it where the compute stream has run dry. Example: a layer of 20 kernels of 2 us each is launch-bound at 5
// us: 100 us, not 40.
#pragma once

#include "models/cost/law_parameters.hpp"

namespace moesim {

[[nodiscard]] inline Seconds launch_cost(const LaunchParameters& parameters) { return parameters.host_cost; }

// A kernel that shares the compute units with communication keeps 1 - held of them. Example, DeepSeek-V3: 20
// of 132 held -> 132/112 = 1.179.
[[nodiscard]] inline double slowdown_beside_communication(const OverlapParameters& parameters) {
  return 1 / (1 - parameters.units_held);
}

}  // namespace moesim
