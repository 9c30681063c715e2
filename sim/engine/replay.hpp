// Plays a ReplayProgram forward in time. Deterministic: the same program gives the same picoseconds.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "sim/engine/replay_program.hpp"

namespace moesim {

// One operation as it happened. `call` and `op` lead back to the program's op; `cause` is the index of the interval
// whose end let this one start (-1: the beginning), which makes the critical path.
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
};

// What one entity did.
struct EntityStatistics {
  Picoseconds end = 0;
  std::array<Picoseconds, kStreams> busy{};  // sum of durations by stream
  // Time of the compute stream by category of the operation that ran.
  std::vector<Picoseconds> compute_by_category;
  // Idle time of the compute stream by category of the operation that the next compute operation waited for last:
  // exposed communication where that is a collective, bubble where it is a receive.
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
  std::vector<WaitingOp> waiting;  // the heads of the blocked streams, when not finished
  Picoseconds end = 0;
  std::uint64_t events = 0;
  std::vector<EntityStatistics> entities;
  std::vector<Interval> intervals;  // by end time; only when recorded
};

[[nodiscard]] ReplayResult replay(const ReplayProgram& program, const ReplayOptions& options);

}  // namespace moesim
