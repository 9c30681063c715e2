// How operations that run together slow each other down: a fluid model, exact in integers.
//
// An operation alone takes its own duration D. It has D of work left and works it off at the rate 1 / max(1, load),
// where load is the sum of the shares on the busiest port of any member; compute runs at 1 / compute_slowdown while
// an operation that holds compute is active on its entity, at 1 / share_slowdown while one that holds its share is, at the lower rate
// beside both. Rates change only when operations start or end; all changes
// of one instant are taken together and each operation concerned is rated once.
//
// Shares and loads are multiples of 2^-32, work left counts in 2^-32 ps and is rounded up: the same figures on every
// machine, sums without drift, and never an end before the uncontended one. An operation presses on one port with at
// most its capacity, also where several members share the port: alone it takes D, whatever its shares.
//
// Worked: two operations of 100 ps and share 1 on one port, started at 0 and 50. The first has 50 left at 50 and ends at
// 150; the second has 50 left then and ends at 200.
//
// Limits: durations below 2^50 ps (19 minutes), loads below 2^12.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/engine/event_queue.hpp"
#include "sim/engine/replay_state.hpp"
#include "sim/engine/wide_integer.hpp"

namespace moesim {

class Contention {
 public:
  Contention(const ReplayProgram& program, std::vector<Lane>& lanes);

  // The operation of `leader` and its members starts. Its end is queued now where it runs at full speed, else by flush().
  void start(LaneId leader, Picoseconds duration, Picoseconds now, EventQueue& queue);
  void end(LaneId leader);

  [[nodiscard]] bool changed() const { return !dirty_.empty(); }
  // Rates again whatever start() and end() touched and queues the new ends.
  void flush(Picoseconds now, EventQueue& queue);

  // For SteadyState: what the operation has left and how fast it runs; whether everything under way is as in `earlier`,
  // later by `by`; and lets everything happen that much later.
  [[nodiscard]] std::uint64_t fingerprint(LaneId leader) const;
  [[nodiscard]] bool repeats(const Contention& earlier, Picoseconds by) const;
  void move(Picoseconds by);

 private:
  using Fixed = std::uint64_t;  // multiples of 2^-32
  static constexpr unsigned kFraction = 32;
  static constexpr Fixed kOne = Fixed{1} << kFraction;

  struct Activity {      // by leader
    UInt128 left = 0;    // work, in 2^-32 ps
    Fixed slowness = 0;  // 1 / rate; 0: its end is not queued yet
    Picoseconds since = 0;
    bool active = false;
    bool dirty = false;
  };
  struct Port {
    Fixed load = 0;
    std::uint32_t first_use = kNoUse;
    // Sum of what the operation being started presses with, valid while `starting` is its number.
    Fixed pressed = 0;
    std::uint64_t starting = 0;
  };
  // A member's pressure on a port; number lane * tiers + tier.
  struct Use {
    Fixed share = 0;  // 0: none
    std::uint32_t previous = kNoUse;
    std::uint32_t next = kNoUse;
    LaneId leader = kNoLane;
    std::int32_t port = 0;
  };
  static constexpr std::uint32_t kNoUse = ~std::uint32_t{0};

  void mark(LaneId leader);
  void mark_all(const Port& port);
  void mark_compute(std::uint32_t entity);
  // The largest load that the lane then meets.
  Fixed press(LaneId lane, LaneId leader);
  void release(LaneId lane);
  [[nodiscard]] Fixed slowness(LaneId leader) const;
  [[nodiscard]] Fixed compute_slowness(std::uint32_t entity) const;
  // Of a communication of this lane; whether the rate of compute on its entity may change.
  bool hold(const Lane& lane);
  bool let_go(const Lane& lane);
  void queue_end(LaneId leader, Picoseconds now, EventQueue& queue);

  std::vector<Lane>& lanes_;
  std::uint32_t tiers_ = 0;
  Fixed compute_slowness_ = kOne;
  Fixed share_slowness_ = kOne;
  std::uint64_t starts_ = 0;
  std::vector<Fixed> shares_;               // port use * tiers + tier
  std::vector<std::int32_t> entity_ports_;  // entity * tiers + tier; -1: none
  std::vector<Activity> activities_;
  std::vector<Port> ports_;
  std::vector<Use> uses_;
  std::vector<std::uint16_t> holders_;    // by entity
  std::vector<std::uint16_t> sharers_;    // by entity, of those that hold a share
  std::vector<std::uint16_t> computing_;  // by entity: bits of the streams that run compute
  std::vector<LaneId> dirty_;
};

}  // namespace moesim
