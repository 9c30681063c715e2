// Computation that has been given to an asynchronous backend: operations that are in its stream and have not ended, and when they
// ran, by the device's clock.
//
// A few operations are given ahead of the device, so that it need not wait for the host between two of them; more would only hold
// memory. Times are those of the host's clock: both were read at one moment, in begin_step.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "exec/comm/communicator.hpp"
#include "exec/compute/compute_backend.hpp"

namespace moesim {

class IssuedCompute {
 public:
  struct Ended {
    std::int32_t item = -1;
    Seconds start, end;
  };

  IssuedCompute(ComputeBackend& backend, Clock clock) : backend_(backend), clock_(std::move(clock)) {}
  IssuedCompute(const IssuedCompute&) = delete;
  IssuedCompute& operator=(const IssuedCompute&) = delete;
  ~IssuedCompute();

  [[nodiscard]] Status begin_step(DeviceStream stream);
  [[nodiscard]] bool empty() const { return issued_.empty(); }
  [[nodiscard]] bool full() const { return issued_.size() >= kAhead; }
  // Before and after the kernels of an item are given to the stream.
  [[nodiscard]] Status begin(std::int32_t item, DeviceStream stream);
  [[nodiscard]] Status end(DeviceStream stream);
  // The oldest one, when it has ended.
  [[nodiscard]] Result<std::optional<Ended>> take_ended();

 private:
  static constexpr std::size_t kAhead = 4;
  struct Issued {
    std::int32_t item = -1;
    DeviceEvent start, end;
  };
  [[nodiscard]] Result<DeviceEvent> event();

  ComputeBackend& backend_;
  Clock clock_;
  std::deque<Issued> issued_;
  std::vector<DeviceEvent> free_;
  DeviceEvent zero_;   // of the step
  Seconds zero_time_;  // when it was reached
};

// An operation that ends when what stands on `stream` now has been done.
[[nodiscard]] Result<Request> request_behind(ComputeBackend& backend, DeviceStream stream);

// What `later` is given from now on begins when what stands on `first` now has been done.
[[nodiscard]] Status order_streams(ComputeBackend& backend, DeviceStream first, DeviceStream later);

}  // namespace moesim
