// How fast the host can feed the device, and how much of it communication leaves to compute.
//
// The host runs ahead of the device, so a launch costs no latency; but kernels cannot follow each other faster than the host
// issues them:
//
//   time = max(kernels * interval, time on the device) + operation
//
// `operation` is what the program that walks the step does for each of its operations while the device has nothing to do: memory
// for results, who may start next. A host that computes itself cannot run ahead, so it is measured there and 0 elsewhere.
//
// Worked: a norm of 3 us with an interval of 6 us takes 6 us; its backward pass in two kernels 12 us; a GEMM of 200 us takes
// 200 us. Where long and short kernels alternate the host gets ahead during the long ones and the short ones cost less than
// this; where the host does more than launch (autograd, Python, CPU synchronisation) all cost more. A step that is replayed
// from a CUDA graph is not bound by the host.
#pragma once

#include <algorithm>

#include "models/cost/cost.hpp"
#include "models/cost/law_parameters.hpp"

namespace moesim {

[[nodiscard]] inline Cost as_issued(const LaunchParameters& parameters, int kernels, Cost on_device) {
  const Seconds issued = parameters.issue_interval * kernels;
  if (on_device.time < issued)
    on_device = {.time = issued, .bound = Bound::kLatency, .extrapolated = on_device.extrapolated};
  on_device.time += parameters.operation;
  return on_device;
}

// A kernel that shares the compute units with communication keeps 1 - held of them. Example, DeepSeek-V3: 20
// of 132 held -> 132/112 = 1.179.
[[nodiscard]] inline double slowdown_beside_communication(const OverlapParameters& parameters) {
  return 1 / (1 - parameters.units_held);
}

}  // namespace moesim
