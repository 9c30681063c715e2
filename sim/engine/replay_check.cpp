#include "sim/engine/replay_check.hpp"

#include <fmt/format.h>
#include <algorithm>
#include <cmath>

#include "base/error.hpp"

namespace moesim {
namespace {

using Fault = std::optional<std::string>;
constexpr Picoseconds kLongest = Picoseconds{1} << 50;  // what the contention arithmetic has room for

template <class Index, class Container>
bool outside(Index index, const Container& container) {
  return index < 0 || static_cast<std::size_t>(index) >= container.size();
}

Fault op_fault(const ReplayProgram& program, const ReplayBlock& block, std::size_t index) {
  const ReplayOp& op = block.ops[index];
  if (static_cast<unsigned>(op.stream) >= kStreams) return "no such stream";
  if (op.wait_streams >> kStreams != 0) return "waits for a stream that does not exist";
  if (op.port_use >= program.port_uses.size()) return fmt::format("port use {} does not exist", op.port_use);
  if (std::size_t{op.first_dep} + op.dep_count > block.deps.size())
    return "its dependencies lie beyond the block's list";
  for (std::size_t i = 0; i < op.dep_count; ++i) {
    const std::uint32_t dep = block.deps[op.first_dep + i];
    if (dep >= index) return fmt::format("dependency {} does not come before it", dep);
  }
  return {};
}

Fault blocks_fault(const ReplayProgram& program) {
  for (std::size_t b = 0; b < program.blocks.size(); ++b) {
    for (std::size_t i = 0; i < program.blocks[b].ops.size(); ++i) {
      if (const Fault fault = op_fault(program, program.blocks[b], i))
        return fmt::format("block {} op {}: {}", b, i, *fault);
    }
  }
  return {};
}

Fault tables_fault(const ReplayProgram& program) {
  for (std::size_t table = 0; table < program.durations.size(); ++table) {
    for (const Picoseconds duration : program.durations[table]) {
      if (duration < 0 || duration >= kLongest)
        return fmt::format("duration table {}: {} ps is out of range", table, duration);
    }
  }
  for (std::size_t i = 0; i < program.port_uses.size(); ++i) {
    for (const float share : program.port_uses[i].share) {
      if (!(share >= 0 && share <= 1)) return fmt::format("port use {}: share {} is not between 0 and 1", i, share);
    }
  }
  if (!(program.compute_slowdown >= 1 && program.compute_slowdown <= 1024)) {
    return fmt::format("compute slowdown {} is not between 1 and 1024", program.compute_slowdown);
  }
  if (!(program.share_slowdown >= 1 && program.share_slowdown <= 1024)) {
    return fmt::format("share slowdown {} is not between 1 and 1024", program.share_slowdown);
  }
  return {};
}

Fault channel_fault(const ReplayProgram& program, std::size_t e, const ReplayOp& op) {
  const std::vector<std::int32_t>& channels = program.entities[e].channels;
  if (outside(op.group, channels)) return fmt::format("channel slot {} does not exist", op.group);
  const bool sends = op.op_class == ReplayOpClass::kSend;
  if ((op.group % 2 == 0) != sends) return fmt::format("channel slot {}: even slots send, odd slots receive", op.group);
  const std::int32_t peer = channels[op.group];
  if (outside(peer, program.entities)) return fmt::format("channel slot {} has no peer", op.group);
  const std::vector<std::int32_t>& back = program.entities[static_cast<std::size_t>(peer)].channels;
  const unsigned counterpart = op.group ^ 1U;
  if (outside(counterpart, back) || back[counterpart] != static_cast<std::int32_t>(e)) {
    return fmt::format("channel slot {}: slot {} of entity {} does not lead back", op.group, counterpart, peer);
  }
  return {};
}

Fault use_fault(const ReplayProgram& program, std::size_t e, const ReplayCall& call, const ReplayOp& op) {
  const ReplayEntity& entity = program.entities[e];
  const std::size_t duration = std::size_t{op.duration} + (!op.varies       ? 0
                                                           : op.second_half ? call.second_variant
                                                                            : call.variant);
  if (duration >= program.durations[entity.durations].size())
    return fmt::format("duration {} does not exist", duration);
  switch (op.op_class) {
    case ReplayOpClass::kCompute: return {};
    case ReplayOpClass::kCollective:
      if (outside(op.group, entity.groups)) return fmt::format("group slot {} does not exist", op.group);
      return {};
    case ReplayOpClass::kSend:
    case ReplayOpClass::kReceive: return channel_fault(program, e, op);
  }
  return "no such class";
}

// A slot's transfers are matched by their order, which only one stream defines.
Fault slot_stream_fault(const ReplayProgram& program, const ReplayEntity& entity) {
  std::vector<int> stream_of(entity.channels.size(), -1);
  for (const ReplayCall& call : entity.calls) {
    for (const ReplayOp& op : program.blocks[call.block].ops) {
      if (op.op_class != ReplayOpClass::kSend && op.op_class != ReplayOpClass::kReceive) continue;
      int& stream = stream_of[op.group];
      if (stream >= 0 && stream != static_cast<int>(op.stream)) {
        return fmt::format("channel slot {} is used on streams {} and {}", op.group,
                           stream_name(static_cast<Stream>(stream)), stream_name(op.stream));
      }
      stream = static_cast<int>(op.stream);
    }
  }
  return {};
}

Fault entity_fault(const ReplayProgram& program, std::size_t e) {
  const ReplayEntity& entity = program.entities[e];
  if (outside(entity.durations, program.durations))
    return fmt::format("duration table {} does not exist", entity.durations);
  if (!(entity.compute_scale > 0 && std::isfinite(entity.compute_scale))) return "the compute scale is not positive";
  for (const std::int32_t port : entity.ports) {
    if (port >= program.ports) return fmt::format("port {} does not exist", port);
  }
  for (const std::int32_t group : entity.groups) {
    if (group >= 0 && outside(group, program.group_sizes)) return fmt::format("rendezvous {} does not exist", group);
  }
  for (std::size_t c = 0; c < entity.calls.size(); ++c) {
    const ReplayCall& call = entity.calls[c];
    if (outside(call.block, program.blocks)) return fmt::format("call {}: block {} does not exist", c, call.block);
    for (std::size_t i = 0; i < program.blocks[call.block].ops.size(); ++i) {
      const Fault fault = use_fault(program, e, call, program.blocks[call.block].ops[i]);
      if (fault) return fmt::format("call {} op {}: {}", c, i, *fault);
    }
  }
  return slot_stream_fault(program, entity);
}

Fault groups_fault(const ReplayProgram& program) {
  std::vector<std::int32_t> members(program.group_sizes.size());
  for (const ReplayEntity& entity : program.entities) {
    std::vector<std::int32_t> groups = entity.groups;
    std::sort(groups.begin(), groups.end());
    groups.erase(std::unique(groups.begin(), groups.end()), groups.end());
    for (const std::int32_t group : groups) {
      if (group >= 0) ++members[static_cast<std::size_t>(group)];
    }
  }
  for (std::size_t group = 0; group < members.size(); ++group) {
    if (members[group] == program.group_sizes[group]) continue;
    return fmt::format("rendezvous {} says {} members, {} entities belong to it", group, program.group_sizes[group],
                       members[group]);
  }
  return {};
}

}  // namespace

std::optional<std::string> replay_program_fault(const ReplayProgram& program) {
  if (Fault fault = tables_fault(program)) return fault;
  if (Fault fault = blocks_fault(program)) return fault;
  for (std::size_t e = 0; e < program.entities.size(); ++e) {
    if (const Fault fault = entity_fault(program, e)) return fmt::format("entity {}: {}", e, *fault);
  }
  return groups_fault(program);
}

void check_replay_program(const ReplayProgram& program) {
  const std::optional<std::string> no_fault = replay_program_fault(program);
  MOESIM_ASSERT(!no_fault.has_value());
}

}  // namespace moesim
