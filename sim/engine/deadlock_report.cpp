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

  [[nodiscard]] std::string reason(const Node& node) const {
    if (node.state == NodeState::kBlocked) return blocked(node);
    return node.op->op_class == ReplayOpClass::kCollective ? missing_members(node) : missing_peer(node);
  }

 private:
  [[nodiscard]] std::string blocked(const Node& node) const {
    const Need& need = compiled_.needs[node.op->first_need + node.next_need];
    const NodeId blocker = node.entity * kStreams + need.stream;
    const StreamCursor cursor = state_.entities[node.entity].cursors[need.stream];
    return fmt::format("waits for stream {}, which stands before op {} of call {}",
                       stream_name(static_cast<Stream>(need.stream)), state_.nodes[blocker].op->op,
                       cursor_call(cursor));
  }

  [[nodiscard]] std::string missing_members(const Node& node) const {
    const std::int32_t id = program_.entities[node.entity].groups[node.op->group];
    const Rendezvous& meeting = state_.rendezvous[static_cast<std::size_t>(id) * kStreams + node.stream];
    std::vector<bool> present(program_.entities.size());
    for (NodeId member = meeting.last; member != kNoNode; member = state_.nodes[member].next_member) {
      present[state_.nodes[member].entity] = true;
    }
    std::vector<std::size_t> missing;
    for (std::size_t e = 0; e < program_.entities.size(); ++e) {
      const std::vector<std::int32_t>& groups = program_.entities[e].groups;
      if (!present[e] && std::find(groups.begin(), groups.end(), id) != groups.end()) missing.push_back(e);
    }
    const std::string what = fmt::format("collective {} of rendezvous {} on stream {}", meeting.held, id,
                                         stream_name(static_cast<Stream>(node.stream)));
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

  [[nodiscard]] std::string missing_peer(const Node& node) const {
    const bool sends = node.op->op_class == ReplayOpClass::kSend;
    const std::string what = fmt::format("{} on channel slot {}", sends ? "send" : "receive", node.op->group);
    if ((node.op->group % 2 == 0) != sends) {
      return fmt::format("{} can never match: even slots send, odd slots receive", what);
    }
    const std::int32_t peer = program_.entities[node.entity].channels[node.op->group];
    if (peer < 0) return fmt::format("{} has no peer", what);
    const std::uint32_t channel = state_.channel(node.entity, node.op->group);
    if (channel == kNoChannel) {
      return fmt::format("{} names entity {}, whose slot {} does not lead back", what, peer, node.op->group ^ 1);
    }
    return fmt::format("{} {} of {} is missing entity {}", sends ? "send" : "receive", state_.channels[channel].held,
                       fmt::format("channel slot {}", node.op->group), peer);
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
  for (const Node& node : state.nodes) {
    if (node.state == NodeState::kDone) continue;
    waiting.push_back({.entity = node.entity,
                       .call = cursor_call(state.entities[node.entity].cursors[node.stream]),
                       .op = node.op->op,
                       .reason = reporter.reason(node)});
  }
  return waiting;
}

}  // namespace moesim
