#include "sim/engine/contention.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace moesim {
namespace {

constexpr double kFixedOne = 4294967296.0;

std::uint64_t to_fixed(double value) { return static_cast<std::uint64_t>(std::llround(value * kFixedOne)); }

}  // namespace

Contention::Contention(const ReplayProgram& program, std::vector<Lane>& lanes)
    : lanes_(lanes),
      compute_slowness_(std::max(kOne, to_fixed(program.compute_slowdown))),
      share_slowness_(std::max(kOne, to_fixed(program.share_slowdown))),
      activities_(lanes.size()),
      ports_(static_cast<std::size_t>(program.ports)),
      holders_(program.entities.size()),
      sharers_(program.entities.size()),
      computing_(program.entities.size()) {
  if (program.ports > 0) {
    for (const PortUse& use : program.port_uses)
      tiers_ = std::max(tiers_, static_cast<std::uint32_t>(use.share.size()));
  }
  for (const PortUse& use : program.port_uses) {
    for (std::size_t tier = 0; tier < tiers_; ++tier) {
      const double share = tier < use.share.size() ? static_cast<double>(use.share[tier]) : 0;
      shares_.push_back(to_fixed(std::clamp(share, 0.0, 1.0)));
    }
  }
  for (const ReplayEntity& entity : program.entities) {
    for (std::size_t tier = 0; tier < tiers_; ++tier) {
      entity_ports_.push_back(tier < entity.ports.size() ? entity.ports[tier] : -1);
    }
  }
  uses_.resize(lanes.size() * tiers_);
}

void Contention::mark(LaneId leader) {
  Activity& activity = activities_[leader];
  if (activity.dirty || !activity.active) return;
  activity.dirty = true;
  dirty_.push_back(leader);
}

void Contention::mark_all(const Port& port) {
  for (std::uint32_t use = port.first_use; use != kNoUse; use = uses_[use].next) mark(uses_[use].leader);
}

void Contention::mark_compute(std::uint32_t entity) {
  for (unsigned bits = computing_[entity]; bits != 0; bits &= bits - 1) {
    mark(entity * kStreams + static_cast<unsigned>(std::countr_zero(bits)));
  }
}

Contention::Fixed Contention::press(LaneId lane, LaneId leader) {
  const std::int32_t* const ports = entity_ports_.data() + std::size_t{lanes_[lane].entity} * tiers_;
  const Fixed* const shares = shares_.data() + std::size_t{lanes_[lane].op->port_use} * tiers_;
  Fixed busiest = 0;
  for (std::size_t tier = 0; tier < tiers_; ++tier) {
    if (shares[tier] == 0 || ports[tier] < 0) continue;
    Port& port = ports_[static_cast<std::size_t>(ports[tier])];
    if (port.starting != starts_) {
      port.starting = starts_;
      port.pressed = 0;
    }
    const Fixed share = std::min(shares[tier], kOne - port.pressed);
    if (share == 0) continue;
    port.pressed += share;
    port.load += share;
    busiest = std::max(busiest, port.load);
    const auto number = static_cast<std::uint32_t>(lane * tiers_ + tier);
    uses_[number] = {share, kNoUse, port.first_use, leader, ports[tier]};
    if (port.first_use != kNoUse) uses_[port.first_use].previous = number;
    port.first_use = number;
    if (port.load > kOne) mark_all(port);
  }
  return busiest;
}

void Contention::release(LaneId lane) {
  const std::size_t first = std::size_t{lane} * tiers_;
  for (std::size_t number = first; number < first + tiers_; ++number) {
    Use& use = uses_[number];
    if (use.share == 0) continue;
    Port& port = ports_[static_cast<std::size_t>(use.port)];
    (use.previous == kNoUse ? port.first_use : uses_[use.previous].next) = use.next;
    if (use.next != kNoUse) uses_[use.next].previous = use.previous;
    if (port.load > kOne) mark_all(port);
    port.load -= use.share;
    use.share = 0;
  }
}

Contention::Fixed Contention::compute_slowness(std::uint32_t entity) const {
  const Fixed by_law = holders_[entity] > 0 ? compute_slowness_ : kOne;
  return sharers_[entity] > 0 ? std::max(by_law, share_slowness_) : by_law;
}

bool Contention::hold(const Lane& lane) {
  if (lane.op->holds_share) return sharers_[lane.entity]++ == 0;
  return lane.op->holds_compute && holders_[lane.entity]++ == 0;
}

bool Contention::let_go(const Lane& lane) {
  if (lane.op->holds_share) return --sharers_[lane.entity] == 0;
  return lane.op->holds_compute && --holders_[lane.entity] == 0;
}

void Contention::start(LaneId leader, Picoseconds duration, Picoseconds now, EventQueue& queue) {
  ++starts_;
  Activity& activity = activities_[leader];
  activity.left = static_cast<UInt128>(static_cast<std::uint64_t>(duration)) << kFraction;
  activity.slowness = 0;
  activity.since = now;
  activity.active = true;
  Fixed busiest = kOne;
  for (LaneId member = leader; member != kNoLane; member = lanes_[member].next_member) {
    const Lane& lane = lanes_[member];
    if (lane.op->op_class == ReplayOpClass::kCompute) {
      computing_[lane.entity] = static_cast<std::uint16_t>(computing_[lane.entity] | 1U << lane.stream);
      busiest = compute_slowness(lane.entity);
      continue;
    }
    busiest = std::max(busiest, press(member, leader));
    if (hold(lane)) mark_compute(lane.entity);
  }
  if (busiest > kOne) return mark(leader);
  activity.slowness = kOne;
  queue_end(leader, now, queue);
}

void Contention::end(LaneId leader) {
  activities_[leader].active = false;
  for (LaneId member = leader; member != kNoLane; member = lanes_[member].next_member) {
    const Lane& lane = lanes_[member];
    if (lane.op->op_class == ReplayOpClass::kCompute) {
      computing_[lane.entity] = static_cast<std::uint16_t>(computing_[lane.entity] & ~(1U << lane.stream));
      continue;
    }
    release(member);
    if (let_go(lane)) mark_compute(lane.entity);
  }
}

Contention::Fixed Contention::slowness(LaneId leader) const {
  const Lane& first = lanes_[leader];
  if (first.op->op_class == ReplayOpClass::kCompute) return compute_slowness(first.entity);
  Fixed load = kOne;
  for (LaneId member = leader; member != kNoLane; member = lanes_[member].next_member) {
    const std::size_t begin = std::size_t{member} * tiers_;
    for (std::size_t number = begin; number < begin + tiers_; ++number) {
      if (uses_[number].share != 0) load = std::max(load, ports_[static_cast<std::size_t>(uses_[number].port)].load);
    }
  }
  return load;
}

void Contention::queue_end(LaneId leader, Picoseconds now, EventQueue& queue) {
  const Activity& activity = activities_[leader];
  const UInt128 ticks =
      activity.slowness == kOne ? activity.left : (activity.left * activity.slowness + (kOne - 1)) >> kFraction;
  const auto wait = static_cast<Picoseconds>(static_cast<std::uint64_t>((ticks + (kOne - 1)) >> kFraction));
  lanes_[leader].event = queue.push(now + wait, leader);
}

void Contention::flush(Picoseconds now, EventQueue& queue) {
  for (const LaneId leader : dirty_) {
    Activity& activity = activities_[leader];
    activity.dirty = false;
    if (!activity.active) continue;
    const Fixed slow = slowness(leader);
    if (slow == activity.slowness) continue;
    if (activity.slowness != 0) {
      const auto elapsed = static_cast<UInt128>(static_cast<std::uint64_t>(now - activity.since));
      const UInt128 done =
          activity.slowness == kOne ? elapsed << kFraction : (elapsed << (2 * kFraction)) / activity.slowness;
      activity.left -= std::min(activity.left, done);
    }
    activity.slowness = slow;
    activity.since = now;
    queue_end(leader, now, queue);
  }
  dirty_.clear();
}

std::uint64_t Contention::fingerprint(LaneId leader) const {
  const Activity& activity = activities_[leader];
  if (!activity.active) return 0;
  return static_cast<std::uint64_t>(activity.left) ^ static_cast<std::uint64_t>(activity.left >> 64) ^
         activity.slowness << 7U;
}

bool Contention::repeats(const Contention& earlier, Picoseconds by) const {
  for (std::size_t i = 0; i < activities_.size(); ++i) {
    const Activity& now = activities_[i];
    const Activity& then = earlier.activities_[i];
    if (now.active != then.active) return false;
    if (now.active && (now.left != then.left || now.slowness != then.slowness || now.since != then.since + by))
      return false;
  }
  for (std::size_t i = 0; i < ports_.size(); ++i)
    if (ports_[i].load != earlier.ports_[i].load || ports_[i].first_use != earlier.ports_[i].first_use) return false;
  for (std::size_t i = 0; i < uses_.size(); ++i) {
    const Use& now = uses_[i];
    const Use& then = earlier.uses_[i];
    if (now.share != then.share) return false;
    // In the order in which they will be rated again.
    if (now.share != 0 &&
        (now.previous != then.previous || now.next != then.next || now.leader != then.leader || now.port != then.port))
      return false;
  }
  return true;
}

void Contention::move(Picoseconds by) {
  for (Activity& activity : activities_)
    if (activity.active) activity.since += by;
}

}  // namespace moesim
