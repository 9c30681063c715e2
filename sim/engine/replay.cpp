#include "sim/engine/replay.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "sim/engine/compiled_program.hpp"
#include "sim/engine/contention.hpp"
#include "sim/engine/deadlock_report.hpp"
#include "sim/engine/event_queue.hpp"
#include "sim/engine/replay_state.hpp"
#include "sim/engine/steady_state.hpp"

namespace moesim {
namespace {

// What lets an operation start: the end of an operation of the same entity.
struct Cause {
  std::int32_t interval = -1;
  std::uint16_t category = 0;
};

class Replayer {
 public:
  Replayer(const ReplayProgram& program, const ReplayOptions& options)
      : program_(program),
        compiled_(compile(program, options.contention)),
        state_(program, compiled_.categories),
        record_(options.record_intervals) {
    MOESIM_ASSERT(state_.lanes.size() < EventQueue::kPayloads);
    if (options.contention) contention_.emplace(program, state_.lanes);
    if (options.leap && !record_) steady_.emplace(program);
    if (options.limit < std::numeric_limits<Picoseconds>::max()) set_limit(options.limit);
    queue_.reserve(program.entities.size() * 4);
    if (record_) intervals_.reserve(operations());
  }

  ReplayResult run() {
    for (LaneId id = 0; id < state_.lanes.size(); ++id) {
      Lane& lane = state_.lanes[id];
      enter_call(lane, state_.entities[lane.entity], compiled_, 0);
    }
    for (LaneId id = 0; id < state_.lanes.size(); ++id) {
      if (state_.lanes[id].state != LaneState::kDone) wake(id, Cause{});
    }
    while (!outlasted_ && advance_time()) {
    }
    return take_result();
  }

 private:
  [[nodiscard]] std::size_t operations() const {
    std::size_t count = 0;
    for (const ReplayEntity& entity : program_.entities) {
      for (const ReplayCall& call : entity.calls) count += program_.blocks[call.block].ops.size();
    }
    return count;
  }

  // By entity and call: the latest time at which its computation may begin the call and still end within the limit. At
  // least what it computes from there on alone has to follow.
  void set_limit(Picoseconds limit) {
    for (const ReplayEntity& entity : program_.entities) {
      const std::vector<Picoseconds>& table = program_.durations[entity.durations];
      std::vector<Picoseconds> latest(entity.calls.size() + 1, limit);
      for (std::size_t call = entity.calls.size(); call-- > 0;) {
        Picoseconds computes = 0;
        for (const ReplayOp& op : program_.blocks[entity.calls[call].block].ops) {
          if (op.stream != Stream::kCompute || op.op_class != ReplayOpClass::kCompute) continue;
          const std::uint16_t variant = op.second_half ? entity.calls[call].second_variant : entity.calls[call].variant;
          computes += table[op.duration + (op.varies ? variant : 0)];
        }
        latest[call] = latest[call + 1] - computes;
      }
      latest_.push_back(std::move(latest));
    }
  }

  // Ends the next operation; false when nothing is under way.
  bool advance_time() {
    end_instant_operations();
    // Rates are settled once per instant, after everything that starts or ends at it.
    if (contention_ && contention_->changed() && (queue_.empty() || queue_.next_time() > state_.now)) {
      contention_->flush(state_.now, queue_);
    }
    if (queue_.empty()) return false;
    if (call_begun_ && queue_.next_time() > state_.now) {
      call_begun_ = false;
      if (steady_) steady_->observe(state_, contention_, queue_);
    }
    const Event event = queue_.pop();
    ++state_.queue_events;
    if (state_.lanes[event.payload].event != event.sequence) return true;  // its end has moved
    state_.now = event.time;
    finish(event.payload);
    return true;
  }

  // Operations of no duration end in the order in which they started, without passing through the queue.
  void end_instant_operations() {
    for (std::size_t i = 0; i < instant_.size(); ++i) finish(instant_[i]);
    instant_.clear();
  }

  void finish(LaneId leader) {
    if (state_.lanes[leader].shares) contention_->end(leader);
    for (LaneId id = leader; id != kNoLane;) {
      const LaneId next = state_.lanes[id].next_member;
      if (next != kNoLane) prefetch(next);
      const Cause cause = close(id);
      wake_after(id, cause);
      id = next;
    }
  }

  // Members of a large group lie far apart; their lines arrive while the one before is worked on.
  void prefetch(LaneId id) const {
    __builtin_prefetch(&state_.lanes[id]);
    const auto* const entity = reinterpret_cast<const char*>(&state_.entities[id / kStreams]);
    __builtin_prefetch(entity);
    __builtin_prefetch(entity + 64);
    __builtin_prefetch(entity + 128);
  }

  // Books the lane's operation and moves the stream on.
  Cause close(LaneId id) {
    Lane& lane = state_.lanes[id];
    EntityState& entity = state_.entities[lane.entity];
    const std::uint16_t category = lane.op->category;
    const std::uint32_t call = cursor_call(entity.cursors[lane.stream]);
    const Cause cause{record_ ? record(lane, call) : -1, category};
    ++state_.ended;
    lane.busy += state_.now - lane.start;
    entity.end = state_.now;
    entity.last_category = category;
    if (lane.stream == static_cast<std::uint8_t>(Stream::kCompute)) {
      state_.compute_time[lane.entity * compiled_.categories + category] += state_.now - lane.start;
      entity.compute_end = state_.now;
    }
    if (--lane.left > 0) {
      ++lane.op;
      ++entity.cursors[lane.stream];
      lane.state = LaneState::kBlocked;
    } else {
      enter_call(lane, entity, compiled_, call + 1);
      if (id == static_cast<LaneId>(Stream::kCompute)) call_begun_ = true;
      if (!latest_.empty() && lane.stream == static_cast<std::uint8_t>(Stream::kCompute))
        outlasted_ = outlasted_ || state_.now > latest_[lane.entity][cursor_call(entity.cursors[lane.stream])];
    }
    lane.next_need = 0;
    return cause;
  }

  std::int32_t record(const Lane& lane, std::uint32_t call) {
    intervals_.push_back({lane.start, state_.now, lane.entity, call, lane.op->op, lane.cause});
    return static_cast<std::int32_t>(intervals_.size() - 1);
  }

  // Looks at what may start now that the lane's stream has moved on.
  void wake_after(LaneId id, Cause cause) {
    const Lane& lane = state_.lanes[id];
    const LaneId first = lane.entity * kStreams;
    EntityState& entity = state_.entities[lane.entity];
    unsigned watchers = entity.watchers[lane.stream];
    entity.watchers[lane.stream] = 0;
    if (lane.state != LaneState::kDone) wake(id, cause);
    for (; watchers != 0; watchers &= watchers - 1)
      wake(first + static_cast<unsigned>(std::countr_zero(watchers)), cause);
  }

  // Goes on through the needs of the lane's operation. The one that is met last is the one that wakes it.
  void wake(LaneId id, Cause cause) {
    Lane& lane = state_.lanes[id];
    EntityState& entity = state_.entities[lane.entity];
    const CompiledOp& op = *lane.op;
    const Need* const needs = compiled_.needs.data() + op.first_need;
    const StreamCursor call = entity.cursors[lane.stream] & ~StreamCursor{0xFFFFFFFF};
    for (; lane.next_need < op.need_count; ++lane.next_need) {
      const Need need = needs[lane.next_need];
      if (entity.cursors[need.stream] >= (call | need.place)) continue;
      entity.watchers[need.stream] = static_cast<std::uint16_t>(entity.watchers[need.stream] | 1U << lane.stream);
      return;
    }
    lane.cause = cause.interval;
    lane.cause_category = cause.category;
    lane.next_member = kNoLane;
    reach(id);
  }

  void reach(LaneId id) {
    Lane& lane = state_.lanes[id];
    if (lane.stream == static_cast<std::uint8_t>(Stream::kCompute))
      account_idle(lane, lane.cause_category);
    else
      account_compute_waiting_for(lane, lane.cause_category);
    switch (lane.op->op_class) {
      case ReplayOpClass::kCompute: return start(id, duration(lane));
      case ReplayOpClass::kCollective: return join_group(id);
      case ReplayOpClass::kSend:
      case ReplayOpClass::kReceive: return meet_peer(id);
    }
  }

  void join_group(LaneId id) {
    Lane& lane = state_.lanes[id];
    const std::int32_t group = state_.entities[lane.entity].groups[lane.op->group];
    if (group < 0) return start(id, duration(lane));
    Rendezvous& meeting = state_.rendezvous[static_cast<std::size_t>(group) * kStreams + lane.stream];
    lane.state = LaneState::kMeeting;
    lane.next_member = meeting.last;
    meeting.last = id;
    meeting.duration = std::max(meeting.duration, duration(lane));
    if (++meeting.arrived < meeting.members) return;
    const Picoseconds longest = meeting.duration;
    meeting = {.members = meeting.members, .held = meeting.held + 1};
    start(id, longest);
  }

  void meet_peer(LaneId id) {
    Lane& lane = state_.lanes[id];
    const bool sends = lane.op->op_class == ReplayOpClass::kSend;
    const std::uint32_t number = state_.channel(lane.entity, lane.op->group);
    lane.state = LaneState::kMeeting;
    // A pair that can never meet stays, and shows in the report.
    if (number == kNoChannel || (lane.op->group % 2 == 0) != sends) return;
    Channel& channel = state_.channels[number];
    if (channel.waiting == kNoLane) {
      channel.waiting = id;
      return;
    }
    const LaneId other = channel.waiting;
    if (state_.lanes[other].op->op_class == lane.op->op_class) return;
    channel.waiting = kNoLane;
    ++channel.held;
    const LaneId sender = sends ? id : other;
    const LaneId receiver = sends ? other : id;
    state_.lanes[other].cause = lane.cause;
    state_.lanes[sender].next_member = receiver;
    start(sender, duration(state_.lanes[sender]));
  }

  // The members of `leader`, linked, start together; the last to arrive has caused it for all.
  void start(LaneId leader, Picoseconds length) {
    const std::int32_t cause = state_.lanes[leader].cause;
    bool shares = false;
    for (LaneId id = leader; id != kNoLane; id = state_.lanes[id].next_member) {
      Lane& lane = state_.lanes[id];
      lane.state = LaneState::kRunning;
      lane.start = state_.now;
      lane.cause = cause;
      shares |= lane.op->shares;
      if (lane.stream == static_cast<std::uint8_t>(Stream::kCompute))
        account_idle(lane, lane.op->category);
      else if (lane.op->meeting_category != lane.op->category)
        account_compute_waiting_for(lane, lane.op->meeting_category);
    }
    Lane& first = state_.lanes[leader];
    first.shares = shares && length > 0;
    if (length == 0) {
      instant_.push_back(leader);
    } else if (first.shares) {
      contention_->start(leader, length, state_.now, queue_);
    } else {
      first.event = queue_.push(state_.now + length, leader);
    }
  }

  [[nodiscard]] Picoseconds duration(const Lane& lane) const {
    const EntityState& entity = state_.entities[lane.entity];
    const CompiledOp& op = *lane.op;
    const Picoseconds alone = entity.durations[op.duration + (!op.varies       ? 0
                                                              : op.second_half ? lane.second_variant
                                                                               : lane.variant)];
    if (op.op_class != ReplayOpClass::kCompute || entity.compute_scale == 1) return alone;
    return std::llround(static_cast<double>(alone) * entity.compute_scale);
  }

  // The compute stream has been idle since its time was last accounted for.
  void account_idle(const Lane& lane, std::uint16_t category) {
    EntityState& entity = state_.entities[lane.entity];
    state_.exposed_time[lane.entity * compiled_.categories + category] += state_.now - entity.compute_end;
    entity.compute_end = state_.now;
  }

  // The compute stream waits for this operation, which had to wait itself: until now for what let it go on (a gather of
  // a gradient that had to be received first), from here on for the operation; or until now for other members of its group.
  void account_compute_waiting_for(const Lane& lane, std::uint16_t category) {
    const Lane& compute = state_.lanes[lane.entity * kStreams];
    if (compute.state != LaneState::kBlocked || compute.next_need >= compute.op->need_count) return;
    if (compiled_.needs[compute.op->first_need + compute.next_need].stream != lane.stream) return;
    account_idle(compute, category);
  }

  ReplayResult take_result() {
    ReplayResult result;
    result.outlasted = outlasted_;
    if (!outlasted_) result.waiting = waiting_operations(program_, compiled_, state_);
    result.finished = !outlasted_ && result.waiting.empty();
    result.end = state_.now;
    result.events = state_.ended;
    result.queue_events = state_.queue_events;
    result.leapt = state_.leapt;
    result.intervals = std::move(intervals_);
    result.entities.resize(state_.entities.size());
    for (std::size_t e = 0; e < state_.entities.size(); ++e) take_statistics(e, result.entities[e]);
    return result;
  }

  void take_statistics(std::size_t e, EntityStatistics& out) {
    const EntityState& entity = state_.entities[e];
    const auto first = static_cast<std::ptrdiff_t>(e * compiled_.categories);
    const auto last = first + static_cast<std::ptrdiff_t>(compiled_.categories);
    state_.exposed_time[e * compiled_.categories + entity.last_category] += entity.end - entity.compute_end;
    out.end = entity.end;
    for (std::size_t stream = 0; stream < kStreams; ++stream) {
      out.busy[stream] = state_.lanes[e * kStreams + stream].busy;
    }
    out.compute_by_category.assign(state_.compute_time.begin() + first, state_.compute_time.begin() + last);
    out.exposed_by_category.assign(state_.exposed_time.begin() + first, state_.exposed_time.begin() + last);
  }

  const ReplayProgram& program_;
  CompiledProgram compiled_;
  ReplayState state_;
  std::optional<Contention> contention_;
  EventQueue queue_;
  std::vector<LaneId> instant_;                   // leaders that started at `now` and take no time
  bool call_begun_ = false;                       // by the first entity
  std::vector<std::vector<Picoseconds>> latest_;  // empty without a limit
  bool outlasted_ = false;
  std::optional<SteadyState> steady_;
  bool record_ = false;
  std::vector<Interval> intervals_;
};

}  // namespace

ReplayResult replay(const ReplayProgram& program, const ReplayOptions& options) {
  return Replayer(program, options).run();
}

}  // namespace moesim
