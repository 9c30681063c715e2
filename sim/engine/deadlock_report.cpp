#include "sim/engine/deadlock_report.hpp"

#include <fmt/format.h>
#include <algorithm>
#include <string>

namespace moesim {
namespace {

constexpr std::size_t kNamedEntities = 8;

class Reporter {
 public:
  Reporter(const ReplayProgram& program, const CompiledProgram& compiled, const ReplayState& state)
      : program_(program), compiled_(compiled), state_(state) {}

  [[nodiscard]] std::string reason(const Lane& lane) const {
    if (lane.state == LaneState::kBlocked) return blocked(lane);
    return lane.op->op_class == ReplayOpClass::kCollective ? missing_members(lane) : missing_peer(lane);
  }

 private:
  [[nodiscard]] std::string blocked(const Lane& lane) const {
    const Need& need = compiled_.needs[lane.op->first_need + lane.next_need];
    const LaneId blocker = lane.entity * kStreams + need.stream;
    const StreamCursor cursor = state_.entities[lane.entity].cursors[need.stream];
    return fmt::format("waits for stream {}, which stands before op {} of call {}",
                       stream_name(static_cast<Stream>(need.stream)), state_.lanes[blocker].op->op,
                       cursor_call(cursor));
  }

  [[nodiscard]] std::string missing_members(const Lane& lane) const {
    const std::int32_t id = program_.entities[lane.entity].groups[lane.op->group];
    const Rendezvous& meeting = state_.rendezvous[static_cast<std::size_t>(id) * kStreams + lane.stream];
    std::vector<bool> present(program_.entities.size());
    for (LaneId member = meeting.last; member != kNoLane; member = state_.lanes[member].next_member) {
      present[state_.lanes[member].entity] = true;
    }
    std::vector<std::size_t> missing;
    for (std::size_t e = 0; e < program_.entities.size(); ++e) {
      const std::vector<std::int32_t>& groups = program_.entities[e].groups;
      if (!present[e] && std::find(groups.begin(), groups.end(), id) != groups.end()) missing.push_back(e);
    }
    const std::string what = fmt::format("collective {} of rendezvous {} on stream {}", meeting.held, id,
                                         stream_name(static_cast<Stream>(lane.stream)));
    if (missing.empty()) {
      return fmt::format("{} expects {} members and only {} entities belong to it", what, meeting.members,
                         meeting.arrived);
    }
    const std::size_t named = std::min(missing.size(), kNamedEntities);
    std::string text =
        fmt::format("{} is missing {} {}", what, missing.size() == 1 ? "entity" : "entities",
                    fmt::join(missing.begin(), missing.begin() + static_cast<std::ptrdiff_t>(named), ", "));
    if (named < missing.size()) text += fmt::format(" and {} more", missing.size() - named);
    return text;
  }

  [[nodiscard]] std::string missing_peer(const Lane& lane) const {
    const bool sends = lane.op->op_class == ReplayOpClass::kSend;
    const std::string what = fmt::format("{} on channel slot {}", sends ? "send" : "receive", lane.op->group);
    if ((lane.op->group % 2 == 0) != sends) {
      return fmt::format("{} can never match: even slots send, odd slots receive", what);
    }
    const std::int32_t peer = program_.entities[lane.entity].channels[lane.op->group];
    if (peer < 0) return fmt::format("{} has no peer", what);
    const std::uint32_t channel = state_.channel(lane.entity, lane.op->group);
    if (channel == kNoChannel) {
      return fmt::format("{} names entity {}, whose slot {} does not lead back", what, peer, lane.op->group ^ 1);
    }
    return fmt::format("{} {} of {} is missing entity {}", sends ? "send" : "receive", state_.channels[channel].held,
                       fmt::format("channel slot {}", lane.op->group), peer);
  }

  const ReplayProgram& program_;
  const CompiledProgram& compiled_;
  const ReplayState& state_;
};

}  // namespace

std::vector<WaitingOp> waiting_operations(const ReplayProgram& program, const CompiledProgram& compiled,
                                          const ReplayState& state) {
  std::vector<WaitingOp> waiting;
  const Reporter reporter(program, compiled, state);
  for (const Lane& lane : state.lanes) {
    if (lane.state == LaneState::kDone) continue;
    waiting.push_back({.entity = lane.entity,
                       .call = cursor_call(state.entities[lane.entity].cursors[lane.stream]),
                       .op = lane.op->op,
                       .reason = reporter.reason(lane)});
  }
  return waiting;
}

}  // namespace moesim
