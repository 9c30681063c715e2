// Plays a ReplayProgram forward in time. Deterministic: the same program gives the same picoseconds.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "sim/engine/replay_program.hpp"

namespace moesim {

// One operation as it happened. `call` and `op` lead back to the program's op; `cause` is the index of the interval
// whose end let this one start (-1: the beginning), which makes the critical path. It starts at the very end of its
// cause; for a collective or a transfer the cause is that of the member that reached it last.
struct Interval {
  Picoseconds start = 0;
  Picoseconds end = 0;
  std::uint32_t entity = 0;
  std::uint32_t call = 0;
  std::uint32_t op = 0;
  std::int32_t cause = -1;
};

struct ReplayOptions {
  bool record_intervals = false;
  bool contention = true;  // false: every operation takes its own duration, whatever runs beside it
  bool leap = true;        // over the repetitions of a steady state (steady_state.hpp); the result is the same
  // A replay that is certain to end after this is given up: who looks for the fastest need not see the end of the others.
  Picoseconds limit = std::numeric_limits<Picoseconds>::max();
};

// What one entity did.
struct EntityStatistics {
  Picoseconds end = 0;
  std::array<Picoseconds, kStreams> busy{};  // time from start to end of its operations, by stream
  // Time of the compute stream by category of the operation that ran.
  std::vector<Picoseconds> compute_by_category;
  // Idle time of the compute stream by category of the operation that the next compute operation waited for last:
  // exposed communication where that is a collective, bubble where it is a receive. Where that operation itself had to
  // wait for another, the time until then goes to the other: a gather behind a receive is bubble first. What remains after the last compute
  // operation goes to the operation that ends the entity; a collective issued to the compute stream itself takes the
  // time it waits for its members. Hence sum(compute) + sum(exposed) == end.
  std::vector<Picoseconds> exposed_by_category;
};

struct WaitingOp {  // of a program that cannot finish
  std::uint32_t entity = 0;
  std::uint32_t call = 0;
  std::uint32_t op = 0;
  std::string reason;  // "collective 3 of rendezvous 12 is missing entities 4, 5"
};

struct ReplayResult {
  bool finished = false;
  bool outlasted = false;          // given up; `end` is how far it came
  std::vector<WaitingOp> waiting;  // the heads of the blocked streams, when not finished
  Picoseconds end = 0;
  std::uint64_t events = 0;        // operations that ended, counted by entity
  std::uint64_t queue_events = 0;  // what passed through the event queue for them
  std::uint64_t leapt = 0;         // of `events`: counted as repetitions of a steady state, not played
  std::vector<EntityStatistics> entities;
  std::vector<Interval> intervals;  // by end time; only when recorded
};

[[nodiscard]] ReplayResult replay(const ReplayProgram& program, const ReplayOptions& options);

}  // namespace moesim
