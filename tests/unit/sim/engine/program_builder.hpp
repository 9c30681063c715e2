// Builds small replay programs for tests: every entity has a block of its own, called once, and its own durations.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <vector>

#include "sim/engine/replay_program.hpp"

namespace moesim::test {

struct OpSpec {
  Stream stream = Stream::kCompute;
  Picoseconds duration = 0;
  std::vector<std::uint32_t> deps{};
  std::uint16_t wait_streams = 0;
  std::uint16_t category = 0;
  std::uint32_t port_use = 0;
  bool holds_compute = false;
  bool holds_share = false;
};

class ProgramBuilder {
 public:
  explicit ProgramBuilder(int entities) {
    program.blocks.resize(static_cast<std::size_t>(entities));
    program.durations.resize(static_cast<std::size_t>(entities));
    program.entities.resize(static_cast<std::size_t>(entities));
    for (std::uint32_t e = 0; e < program.entities.size(); ++e) {
      program.entities[e].durations = e;
      program.entities[e].calls.push_back({.block = e});
    }
  }

  std::uint32_t compute(std::uint32_t entity, const OpSpec& spec) {
    return add(entity, spec, ReplayOpClass::kCompute, 0);
  }
  std::uint32_t collective(std::uint32_t entity, std::uint8_t slot, const OpSpec& spec) {
    return add(entity, spec, ReplayOpClass::kCollective, slot);
  }
  std::uint32_t send(std::uint32_t entity, std::uint8_t slot, const OpSpec& spec) {
    return add(entity, spec, ReplayOpClass::kSend, slot);
  }
  std::uint32_t receive(std::uint32_t entity, std::uint8_t slot, const OpSpec& spec) {
    return add(entity, spec, ReplayOpClass::kReceive, slot);
  }

  // A group of these entities in the next free group slot of each; the rendezvous id.
  std::int32_t group(std::initializer_list<std::uint32_t> members) {
    return group(std::span<const std::uint32_t>(members.begin(), members.size()));
  }
  std::int32_t group(std::span<const std::uint32_t> members) {
    const auto id = static_cast<std::int32_t>(program.group_sizes.size());
    program.group_sizes.push_back(static_cast<std::int32_t>(members.size()));
    for (const std::uint32_t member : members) program.entities[member].groups.push_back(id);
    return id;
  }

  // Wires slot 2i of `sender` to slot 2i+1 of `receiver`.
  void channel(std::uint32_t sender, std::uint32_t receiver, std::size_t i = 0) {
    set_peer(sender, 2 * i, receiver);
    set_peer(receiver, 2 * i + 1, sender);
  }

  // One port for each entity at one tier.
  void own_ports() {
    for (std::uint32_t e = 0; e < program.entities.size(); ++e)
      program.entities[e].ports = {static_cast<std::int32_t>(e)};
    program.ports = static_cast<std::int32_t>(program.entities.size());
  }
  std::uint32_t port_use(std::vector<float> share) {
    program.port_uses.push_back({std::move(share)});
    return static_cast<std::uint32_t>(program.port_uses.size() - 1);
  }

  ReplayProgram program;

 private:
  std::uint32_t add(std::uint32_t entity, const OpSpec& spec, ReplayOpClass op_class, std::uint8_t group) {
    ReplayBlock& block = program.blocks[entity];
    std::vector<Picoseconds>& durations = program.durations[entity];
    block.ops.push_back({.duration = static_cast<std::uint32_t>(durations.size()),
                         .first_dep = static_cast<std::uint32_t>(block.deps.size()),
                         .dep_count = static_cast<std::uint16_t>(spec.deps.size()),
                         .wait_streams = spec.wait_streams,
                         .stream = spec.stream,
                         .op_class = op_class,
                         .group = group,
                         .holds_compute = spec.holds_compute,
                         .holds_share = spec.holds_share,
                         .category = spec.category,
                         .port_use = spec.port_use});
    block.deps.insert(block.deps.end(), spec.deps.begin(), spec.deps.end());
    durations.push_back(spec.duration);
    return static_cast<std::uint32_t>(block.ops.size() - 1);
  }

  void set_peer(std::uint32_t entity, std::size_t slot, std::uint32_t peer) {
    std::vector<std::int32_t>& channels = program.entities[entity].channels;
    if (channels.size() <= slot) channels.resize(slot + 1, -1);
    channels[slot] = static_cast<std::int32_t>(peer);
  }
};

// A splitmix64 stream: the same numbers everywhere.
class Dice {
 public:
  explicit Dice(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9E3779B97F4A7C15U);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    return z ^ (z >> 31);
  }
  std::uint32_t below(std::uint32_t n) { return static_cast<std::uint32_t>(next() % n); }

 private:
  std::uint64_t state_;
};

}  // namespace moesim::test
