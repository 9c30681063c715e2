// An all-to-all message by message: the check on the closed law of the collective.
//
// Every rank has a port out and a port in, each passing one message at a time at `bandwidth`. Rank i sends to i+1, i+2,
// ... (cyclic) one after the other; a message has left after size / bandwidth, reaches the other side `latency` later,
// waits there for its turn in the order of arrival, and takes size / bandwidth to come in. One event per busy port is
// pending, whatever the number of messages; besides the matrix of sizes it needs O(ranks) of memory.
//
// The result lies between the port bound (the busiest port's bytes / bandwidth) and, for equal messages, the bound plus
// one message and the latency. Worked: 3 ranks, 100 bytes to each other rank, 1 byte/ps, latency 5: sent 0-100-200,
// received 105-205 and 205-305; end 305, bound 200.
#pragma once

#include <cstdint>
#include <span>

#include "base/units.hpp"
#include "sim/engine/replay_program.hpp"

namespace moesim {

struct MessageLevelResult {
  Picoseconds end = 0;
  std::uint64_t messages = 0;  // of more than zero bytes between different ranks
};

// `bytes[i * ranks + j]` from rank i to rank j; the diagonal stays on its rank and takes no time.
[[nodiscard]] MessageLevelResult simulate_all_to_all(int ranks, std::span<const std::int64_t> bytes,
                                                     BytesPerSecond bandwidth, Seconds latency);

// The largest sum of a row or column over `bandwidth`, without the diagonal: no schedule is faster.
[[nodiscard]] Picoseconds all_to_all_port_bound(int ranks, std::span<const std::int64_t> bytes,
                                                BytesPerSecond bandwidth);

}  // namespace moesim
