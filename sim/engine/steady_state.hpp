// Leaps over the repetitions of a replay's steady state.
//
// A pipeline that has filled does the same for one micro-batch after the other. When everything stands as it stood some
// calls before, at other times by one and the same amount, and the calls to come are those that came since, then the
// replay will go on as it did: whole periods are counted instead of played. Nothing is approximated: all times,
// statistics and ties come out as if every event had been played.
//
// A fingerprint of the state, taken whenever the first entity begins a call, finds a likely period; the state is then
// kept for one more period and compared in full. Streams that wait for a call beyond the repetitions (a gradient
// reduction in the last backward pass) stay as they are; the leap ends before it.
// Worked: calls F F | F B F B F B F B | B B, period F B from the third call on: found after its second F B, verified by
// the third, and the fourth is leapt over.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "sim/engine/contention.hpp"
#include "sim/engine/event_queue.hpp"
#include "sim/engine/replay_program.hpp"
#include "sim/engine/replay_state.hpp"

namespace moesim {

class SteadyState {
 public:
  explicit SteadyState(const ReplayProgram& program) : program_(program) {}

  // To be called at an instant at which nothing more happens, with all ends queued, after the first entity has begun a
  // call. Moves the replay ahead where that is possible.
  void observe(ReplayState& state, std::optional<Contention>& contention, EventQueue& queue);

 private:
  struct Snapshot {
    ReplayState state;
    std::optional<Contention> contention;
    std::vector<Event> pending;  // events that count, in order
  };

  [[nodiscard]] bool repeats(const ReplayState& state, const std::optional<Contention>& contention,
                             const EventQueue& queue) const;
  [[nodiscard]] bool entity_repeats(const ReplayState& state, std::uint32_t entity) const;
  // How many more periods the entity's calls go on alike before a waiting stream has its turn.
  [[nodiscard]] std::uint32_t periods_left(const ReplayState& state, std::uint32_t entity) const;
  void leap(std::uint32_t periods, ReplayState& state, std::optional<Contention>& contention, EventQueue& queue) const;

  const ReplayProgram& program_;
  std::unordered_map<std::uint64_t, std::uint32_t> seen_;  // fingerprint -> call of the first entity
  std::optional<Snapshot> kept_;
  std::uint32_t due_ = 0;  // call of the first entity at which kept_ is to be compared
};

}  // namespace moesim
