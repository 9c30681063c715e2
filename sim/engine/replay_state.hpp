// What a replay keeps of every entity, stream, rendezvous and channel while it runs.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "sim/engine/compiled_program.hpp"
#include "sim/engine/replay_program.hpp"

namespace moesim {

// A stream of an entity; number entity * kStreams + stream.
using LaneId = std::uint32_t;
constexpr LaneId kNoLane = ~LaneId{0};

enum class LaneState : std::uint8_t {
  kDone,     // no operation left
  kBlocked,  // its operation needs another stream of the entity: needs[next_need]
  kMeeting,  // its operation waits for the other members or the peer
  kRunning,
};

// The operation that a stream has before it. One that several lanes run together is known by its leader; `next_member`
// leads from there through the others. One cache line.
struct alignas(64) Lane {
  const CompiledOp* op = nullptr;
  Picoseconds start = 0;
  Picoseconds busy = 0;     // sum of what has ended
  std::uint64_t event = 0;  // of a leader: sequence number of the event that counts
  LaneId next_member = kNoLane;
  std::uint32_t entity = 0;
  std::uint32_t left = 0;     // operations in this call, the current one included
  std::uint16_t variant = 0;  // of this call
  std::uint16_t second_variant = 0;
  std::int32_t cause = -1;  // interval whose end let the operation start
  std::uint16_t cause_category = 0;
  std::uint8_t next_need = 0;
  std::uint8_t stream = 0;
  LaneState state = LaneState::kDone;
  bool shares = false;  // of a leader: Contention knows it
};
static_assert(sizeof(Lane) == 64);

struct alignas(64) EntityState {
  std::array<StreamCursor, kStreams> cursors{};
  std::array<std::uint16_t, kStreams> watchers{};  // by stream: the streams to look at when it moves on
  std::uint16_t last_category = 0;                 // of the operation that ended last
  std::uint32_t call_count = 0;
  const ReplayCall* calls = nullptr;
  const Picoseconds* durations = nullptr;
  const std::int32_t* groups = nullptr;
  double compute_scale = 1;
  Picoseconds compute_end = 0;  // until when the compute stream's time is accounted for
  Picoseconds end = 0;
};
static_assert(sizeof(EntityState) == 256);

// Where the members of a group meet on one stream; number rendezvous id * kStreams + stream. A member cannot reach the
// next meeting before this one has ended, so one at a time is all there is.
struct Rendezvous {
  std::uint32_t members = 0;
  std::uint32_t arrived = 0;
  std::uint32_t held = 0;  // meetings that have taken place
  LaneId last = kNoLane;   // who arrived, linked by next_member
  Picoseconds duration = 0;
};

// From an even slot of its sender to the next odd slot of its receiver.
struct Channel {
  LaneId waiting = kNoLane;  // the side that is there first
  std::uint32_t held = 0;
};
constexpr std::uint32_t kNoChannel = ~std::uint32_t{0};

struct ReplayState {
  Picoseconds now = 0;
  std::uint64_t ended = 0;         // operations, counted by entity
  std::uint64_t queue_events = 0;  // taken from the event queue
  std::uint64_t leapt = 0;         // of `ended`
  std::size_t categories = 1;
  std::vector<Picoseconds> compute_time;  // by entity and category
  std::vector<Picoseconds> exposed_time;
  std::vector<Lane> lanes;
  std::vector<EntityState> entities;
  std::vector<Rendezvous> rendezvous;
  std::vector<Channel> channels;
  std::vector<std::uint32_t> first_slot;     // by entity, into slot_channels
  std::vector<std::uint32_t> slot_channels;  // kNoChannel where the two ends do not name each other

  ReplayState(const ReplayProgram& program, std::size_t category_count);
  [[nodiscard]] std::uint32_t channel(std::uint32_t entity, std::uint8_t slot) const {
    return slot_channels[first_slot[entity] + slot];
  }
};

// Puts the lane before the first operation of its stream in call `call` or later.
void enter_call(Lane& lane, EntityState& entity, const CompiledProgram& compiled, std::uint32_t call);

}  // namespace moesim
