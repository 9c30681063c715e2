// What a kernel costs whose time is its memory traffic.
//
//   time = kernels * overhead + bytes / (peak * efficiency * row / (row + ramp))
//
// `row` is the length of one contiguous row of a scattered access; streams have no row term. Small kernels
// are all overhead, which is the small-size ramp. Kernels that were measured by size have their own curve. Example: 100 MB on 2 TB/s at 0.85 with 2.5 us: 2.5 + 58.8
// = 61.3 us.
#pragma once

#include <algorithm>

#include "models/cost/cost.hpp"
#include "models/cost/law_parameters.hpp"
#include "models/cost/work.hpp"

namespace moesim {

struct MemoryMachine {
  double rate = 0;      // bytes per second, efficiency applied
  double row_ramp = 0;  // bytes
  double overhead = 0;  // seconds
};

[[nodiscard]] inline MemoryMachine memory_machine(const DeviceSpec& device, const MemoryParameters& parameters) {
  return {.rate = std::max(device.memory_bandwidth.value(), 1e9) * parameters.efficiency,
          .row_ramp = parameters.row_ramp_bytes,
          .overhead = parameters.overhead.value()};
}

[[nodiscard]] inline Cost memory_cost(const MemoryMachine& machine, const MemoryWork& work) {
  const double fixed = machine.overhead * work.kernels;
  double body = (work.read.value() + work.written.value()) / machine.rate;
  if (work.row_bytes > 0) body *= 1 + machine.row_ramp / static_cast<double>(work.row_bytes);
  return {.time = Seconds(fixed + body), .bound = fixed > body ? Bound::kLatency : Bound::kMemory};
}

// A kernel measured by size (measured_laws.hpp): its times stand for one launch each.
[[nodiscard]] inline Cost measured_memory_cost(const MemorySeries& series, const MemoryWork& work) {
  const double bytes = work.read.value() + work.written.value();
  const double each = bytes / work.kernels;
  return {
      .time = series.time.at(each) * work.kernels,
      .bound = series.time.pieces.front().alpha_s * 2 > series.time.at(each).value() ? Bound::kLatency : Bound::kMemory,
      .extrapolated = !series.time.covers(each)};
}

}  // namespace moesim
