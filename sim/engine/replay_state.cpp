#include "sim/engine/replay_state.hpp"

namespace moesim {
namespace {

// Whether slot `slot` of `entity` and its counterpart at the peer name each other.
bool is_connected(const ReplayProgram& program, std::size_t entity, std::size_t slot) {
  const std::int32_t peer = program.entities[entity].channels[slot];
  if (peer < 0 || static_cast<std::size_t>(peer) >= program.entities.size()) return false;
  const std::vector<std::int32_t>& back = program.entities[static_cast<std::size_t>(peer)].channels;
  const std::size_t counterpart = slot ^ 1U;
  return counterpart < back.size() && back[counterpart] == static_cast<std::int32_t>(entity);
}

}  // namespace

ReplayState::ReplayState(const ReplayProgram& program, std::size_t category_count)
    : categories(category_count),
      compute_time(program.entities.size() * category_count),
      exposed_time(program.entities.size() * category_count),
      lanes(program.entities.size() * kStreams),
      entities(program.entities.size()),
      rendezvous(program.group_sizes.size() * kStreams) {
  for (std::size_t i = 0; i < rendezvous.size(); ++i) {
    rendezvous[i].members = static_cast<std::uint32_t>(program.group_sizes[i / kStreams]);
  }
  std::uint32_t slots = 0;
  for (const ReplayEntity& entity : program.entities) {
    first_slot.push_back(slots);
    slots += static_cast<std::uint32_t>(entity.channels.size());
  }
  // A channel has the number of its sender's slot; those of receivers stay unused.
  channels.resize(slots);
  slot_channels.resize(slots, kNoChannel);
  for (std::size_t e = 0; e < program.entities.size(); ++e) {
    const ReplayEntity& entity = program.entities[e];
    for (std::size_t slot = 0; slot < entity.channels.size(); ++slot) {
      if (!is_connected(program, e, slot)) continue;
      const bool sends = slot % 2 == 0;
      const std::size_t sender = sends ? e : static_cast<std::size_t>(entity.channels[slot]);
      slot_channels[first_slot[e] + slot] = first_slot[sender] + static_cast<std::uint32_t>(sends ? slot : slot - 1);
    }
    EntityState& state = entities[e];
    state.durations = program.durations[entity.durations].data();
    state.calls = entity.calls.data();
    state.call_count = static_cast<std::uint32_t>(entity.calls.size());
    state.groups = entity.groups.data();
    state.compute_scale = entity.compute_scale;
    for (unsigned stream = 0; stream < kStreams; ++stream) {
      Lane& lane = lanes[e * kStreams + stream];
      lane.entity = static_cast<std::uint32_t>(e);
      lane.stream = static_cast<std::uint8_t>(stream);
    }
  }
}

void enter_call(Lane& lane, EntityState& entity, const CompiledProgram& compiled, std::uint32_t call) {
  const ReplayCall* const calls = entity.calls;
  const std::uint32_t count = entity.call_count;
  while (call < count && (compiled.blocks[calls[call].block].streams >> lane.stream & 1U) == 0) ++call;
  entity.cursors[lane.stream] = stream_cursor(call, 0);
  lane.left = 0;
  lane.state = LaneState::kDone;
  if (call == count) return;
  const CompiledBlock& block = compiled.blocks[calls[call].block];
  lane.op = &compiled.ops[block.first_op[lane.stream]];
  lane.left = block.first_op[lane.stream + 1U] - block.first_op[lane.stream];
  lane.variant = calls[call].variant;
  lane.second_variant = calls[call].second_variant;
  lane.state = LaneState::kBlocked;
}

}  // namespace moesim
