#include "exec/comm/watchdog.hpp"

#include <algorithm>
#include <utility>

namespace moesim {

Watchdog::Watchdog(Clock clock, Seconds deadline) : clock_(std::move(clock)), deadline_(deadline) {
  MOESIM_ASSERT(clock_);
  last_look_ = clock_();
}

void Watchdog::moved() {
  last_look_ = clock_();
  idle_ = Seconds(0);
}

bool Watchdog::idle_for_too_long() {
  const Seconds now = clock_();
  idle_ += std::min(now - last_look_, deadline_ / 16);
  last_look_ = now;
  return idle_ > deadline_;
}

}  // namespace moesim
