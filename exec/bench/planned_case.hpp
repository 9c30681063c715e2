// One thing to measure: what it is, as the laws see it, and how to do it.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "base/error.hpp"
#include "calibration/bench_file.hpp"
#include "exec/comm/communicator.hpp"
#include "exec/compute/compute_backend.hpp"

namespace moesim {

// What a rank measures with. All ranks run the same cases in the same order.
struct BenchContext {
  ComputeBackend& backend;
  DeviceStream stream;
  Communicator& comm;
  Clock clock;
};

// Ready to run, with its buffers, which disappear with it. The time of `run` counts.
struct PreparedCase {
  std::function<Status()> run;
  std::function<Status()> finish;  // after the clock has been read: what `run` left in flight; may be empty
  double operations = 1;           // that one run stands for: 2 for a round trip
  bool repeatable = true;          // runs may follow each other without `finish`, in one sample
  // What is measured, where only the preparation could tell; the same on all ranks.
  std::optional<BenchWork> work = std::nullopt;
};

struct PlannedCase {
  std::string name;
  BenchWork work;
  std::function<Result<PreparedCase>(BenchContext& context)> prepare;
};

}  // namespace moesim
