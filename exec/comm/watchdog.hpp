// When to stop waiting: nothing has moved for longer than the deadline.
//
// Only time during which somebody was looking counts. A rank that starts a collective, computes for minutes and then
// waits must not give up at once, so a gap between two looks counts for at most 1/16 of the deadline.
// Example, deadline 60 s: looked at every 1 ms, gives up after 60 s; looked at every 10 s, after 16 looks, 160 s.
#pragma once

#include "exec/comm/communicator.hpp"

namespace moesim {

class Watchdog {
 public:
  Watchdog(Clock clock, Seconds deadline);
  // Something moved, or nothing is waited for.
  void moved();
  // Nothing moved since the last call; true: for too long.
  [[nodiscard]] bool idle_for_too_long();
  [[nodiscard]] Seconds deadline() const { return deadline_; }

 private:
  Clock clock_;
  Seconds deadline_;
  Seconds last_look_;
  Seconds idle_;
};

}  // namespace moesim
