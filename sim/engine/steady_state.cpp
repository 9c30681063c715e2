#include "sim/engine/steady_state.hpp"

#include <algorithm>
#include <limits>

namespace moesim {
namespace {

// A stream further ahead of its entity's computation than this counts as waiting in the fingerprint.
constexpr std::uint32_t kFarCalls = 8;

class Fingerprint {
 public:
  void add(std::uint64_t value) {
    hash_ = (hash_ ^ value) * 0x9E3779B97F4A7C15ULL;
    hash_ ^= hash_ >> 29U;
  }
  [[nodiscard]] std::uint64_t value() const { return hash_; }

 private:
  std::uint64_t hash_ = 0;
};

std::uint32_t call_of(const ReplayState& state, const Lane& lane) {
  return cursor_call(state.entities[lane.entity].cursors[lane.stream]);
}

std::uint32_t compute_call(const EntityState& entity) {
  return cursor_call(entity.cursors[static_cast<std::size_t>(Stream::kCompute)]);
}

std::uint64_t fingerprint(const ReplayState& state, const std::optional<Contention>& contention) {
  Fingerprint print;
  for (LaneId id = 0; id < state.lanes.size(); ++id) {
    const Lane& lane = state.lanes[id];
    if (lane.state == LaneState::kDone) continue;
    const EntityState& entity = state.entities[lane.entity];
    const std::uint32_t ahead = cursor_call(entity.cursors[lane.stream]) - compute_call(entity);
    if (lane.state == LaneState::kBlocked && ahead > kFarCalls) continue;
    print.add(id << 2U | static_cast<std::uint64_t>(lane.state));
    print.add(static_cast<std::uint64_t>(ahead) << 32U | lane.left);
    print.add(static_cast<std::uint64_t>(lane.op->op) << 8U | lane.next_need);
    if (lane.state != LaneState::kRunning) continue;
    print.add(static_cast<std::uint64_t>(state.now - lane.start));
    if (contention) print.add(contention->fingerprint(id));
  }
  return print.value();
}

std::vector<Event> pending_events(const ReplayState& state, const EventQueue& queue) {
  std::vector<Event> events;
  for (const Event& event : queue.events())
    if (state.lanes[event.payload].event == event.sequence && state.lanes[event.payload].state == LaneState::kRunning)
      events.push_back(event);
  std::sort(events.begin(), events.end(), [](const Event& a, const Event& b) {
    return a.time != b.time ? a.time < b.time : a.sequence < b.sequence;
  });
  return events;
}

bool same_operation(const Lane& a, const Lane& b) {
  if (a.state != b.state) return false;
  if (a.state == LaneState::kDone) return true;
  if (a.op != b.op || a.left != b.left || a.next_need != b.next_need) return false;
  return a.state == LaneState::kBlocked || a.next_member == b.next_member;
}

bool same_meetings(const ReplayState& a, const ReplayState& b) {
  const auto same_rendezvous = [](const Rendezvous& x, const Rendezvous& y) {
    return x.arrived == y.arrived && x.last == y.last && x.duration == y.duration;
  };
  const auto same_channel = [](const Channel& x, const Channel& y) { return x.waiting == y.waiting; };
  return std::equal(a.rendezvous.begin(), a.rendezvous.end(), b.rendezvous.begin(), same_rendezvous) &&
         std::equal(a.channels.begin(), a.channels.end(), b.channels.begin(), same_channel);
}

bool same_call(const ReplayCall& a, const ReplayCall& b) {
  return a.block == b.block && a.variant == b.variant && a.second_variant == b.second_variant;
}

// Adds what came since `earlier` so many times again.
template <typename T>
void add_again(T& now, const T& earlier, std::uint32_t times) {
  now += (now - earlier) * static_cast<T>(times);
}

}  // namespace

void SteadyState::observe(ReplayState& state, std::optional<Contention>& contention, EventQueue& queue) {
  const std::uint32_t call = compute_call(state.entities.front());
  if (kept_) {
    if (call < due_) return;
    if (call == due_ && repeats(state, contention, queue)) {
      std::uint32_t periods = std::numeric_limits<std::uint32_t>::max();
      for (std::uint32_t e = 0; e < state.entities.size(); ++e) periods = std::min(periods, periods_left(state, e));
      if (periods > 0) {
        leap(periods, state, contention, queue);
        seen_.clear();
      }
    }
    kept_.reset();
    return;
  }
  const auto [known, fresh] = seen_.try_emplace(fingerprint(state, contention), call);
  if (fresh || known->second == call) return;
  due_ = call + (call - known->second);
  known->second = call;
  kept_.emplace(Snapshot{state, contention, pending_events(state, queue)});
}

bool SteadyState::repeats(const ReplayState& state, const std::optional<Contention>& contention,
                          const EventQueue& queue) const {
  const Picoseconds period = state.now - kept_->state.now;
  for (std::uint32_t e = 0; e < state.entities.size(); ++e)
    if (!entity_repeats(state, e)) return false;
  if (!same_meetings(state, kept_->state)) return false;
  if (contention && !contention->repeats(*kept_->contention, period)) return false;
  const std::vector<Event> pending = pending_events(state, queue);
  return std::equal(pending.begin(), pending.end(), kept_->pending.begin(), kept_->pending.end(),
                    [period](const Event& now, const Event& then) {
                      return now.time == then.time + period && now.payload == then.payload;
                    });
}

// Each stream stands still, or has moved on by as many calls as the entity's computation.
bool SteadyState::entity_repeats(const ReplayState& state, std::uint32_t entity) const {
  const EntityState& now = state.entities[entity];
  const EntityState& then = kept_->state.entities[entity];
  const std::uint32_t calls = compute_call(now) - compute_call(then);
  const Picoseconds period = state.now - kept_->state.now;
  if (now.watchers != then.watchers || now.compute_end - then.compute_end != (calls > 0 ? period : 0)) return false;
  for (LaneId id = entity * kStreams; id < (entity + 1) * kStreams; ++id) {
    const Lane& lane = state.lanes[id];
    const Lane& before = kept_->state.lanes[id];
    if (!same_operation(lane, before)) return false;
    const StreamCursor moved = now.cursors[lane.stream] - then.cursors[lane.stream];
    const bool stands = moved == 0 && lane.state != LaneState::kRunning;
    if (!stands && (calls == 0 || moved != stream_cursor(calls, 0))) return false;
    if (lane.state == LaneState::kRunning && lane.start - before.start != period) return false;
  }
  return true;
}

std::uint32_t SteadyState::periods_left(const ReplayState& state, std::uint32_t entity) const {
  const std::vector<ReplayCall>& calls = program_.entities[entity].calls;
  const std::uint32_t period = compute_call(state.entities[entity]) - compute_call(kept_->state.entities[entity]);
  if (period == 0) return std::numeric_limits<std::uint32_t>::max();
  const auto count = static_cast<std::uint32_t>(calls.size());
  std::uint32_t first = count;  // that any moving stream was at when the state was kept
  std::uint32_t last = 0;       // that any is at now
  std::uint32_t limit = count;  // the first call that a waiting stream waits for
  for (LaneId id = entity * kStreams; id < (entity + 1) * kStreams; ++id) {
    const std::uint32_t now = call_of(state, state.lanes[id]);
    const std::uint32_t then = call_of(kept_->state, kept_->state.lanes[id]);
    if (now != then) {
      first = std::min(first, then);
      last = std::max(last, now);
    } else if (state.lanes[id].state == LaneState::kBlocked) {
      limit = std::min(limit, now);
    }
  }
  std::uint32_t alike = first + period;  // calls before this one are as those a period before
  while (alike < limit && same_call(calls[alike], calls[alike - period])) ++alike;
  return last < alike ? (alike - 1 - last) / period : 0;
}

void SteadyState::leap(std::uint32_t periods, ReplayState& state, std::optional<Contention>& contention,
                       EventQueue& queue) const {
  const ReplayState& then = kept_->state;
  const Picoseconds by = (state.now - then.now) * periods;
  for (std::size_t e = 0; e < state.entities.size(); ++e) {
    EntityState& entity = state.entities[e];
    if (compute_call(entity) == compute_call(then.entities[e])) continue;
    entity.compute_end += by;
    entity.end += by;
    for (std::size_t s = 0; s < kStreams; ++s) {
      Lane& lane = state.lanes[e * kStreams + s];
      add_again(entity.cursors[s], then.entities[e].cursors[s], periods);
      add_again(lane.busy, then.lanes[e * kStreams + s].busy, periods);
      if (lane.state == LaneState::kRunning) lane.start += by;
    }
  }
  for (std::size_t i = 0; i < state.rendezvous.size(); ++i)
    add_again(state.rendezvous[i].held, then.rendezvous[i].held, periods);
  for (std::size_t i = 0; i < state.channels.size(); ++i)
    add_again(state.channels[i].held, then.channels[i].held, periods);
  for (std::size_t i = 0; i < state.compute_time.size(); ++i) {
    add_again(state.compute_time[i], then.compute_time[i], periods);
    add_again(state.exposed_time[i], then.exposed_time[i], periods);
  }
  state.leapt += (state.ended - then.ended) * periods;
  add_again(state.ended, then.ended, periods);
  add_again(state.queue_events, then.queue_events, periods);
  state.now += by;
  queue.move(by);
  if (contention) contention->move(by);
}

}  // namespace moesim
