// Clocks of several machines set beside each other, by Cristian's algorithm (Distributed Computing 3, 1989): of some messages to and
// fro, the quickest tells the difference best, half its time being the most that it can be wrong by.
//
// Example: a message leaves at 10.0 s and its answer, "5.3 s", is there at 10.2 s: 5.3 - 10.1 = -4.8 s, within 0.1 s.
#pragma once

#include "exec/comm/communicator.hpp"

namespace moesim {

// What to add to this rank's clock to have that of rank 0; all ranks must ask. Ranks of one machine share a clock, so 0 for those
// beside rank 0, and the same for all of another machine.
[[nodiscard]] Result<Seconds> difference_to_first_clock(Communicator& comm, Channel channel, const Clock& clock);

}  // namespace moesim
