// Random replay programs that can finish.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "program_builder.hpp"

namespace moesim::test {

// Groups and channels are entered in one global order by all entities, so the programs can finish; each entity puts
// operations of its own between.
inline ProgramBuilder random_program(std::uint64_t seed) {
  Dice dice(seed);
  Dice of_shares(seed + 1'000'000);
  const std::uint32_t entities = 2 + dice.below(4);
  ProgramBuilder b(static_cast<int>(entities));
  b.own_ports();
  b.program.share_slowdown = 1 + 0.5 * of_shares.below(3);
  b.program.compute_slowdown = 1 + 0.25 * dice.below(3);
  std::vector<std::uint32_t> all(entities);
  for (std::uint32_t e = 0; e < entities; ++e) all[e] = e;
  b.group(all);
  b.group({0, 1});
  for (std::uint32_t e = 0; e < entities; ++e) {
    b.channel(e, (e + 1) % entities, 0);
    b.program.entities[e].groups.resize(2, -1);
  }
  std::array<std::uint32_t, 4> uses{0, b.port_use({1.0F}), b.port_use({0.4F}), b.port_use({0.7F})};
  constexpr Stream kStreamsUsed[] = {Stream::kCompute, Stream::kTp, Stream::kEp};
  const auto spec = [&](std::uint32_t e, Stream stream) {
    OpSpec op{.stream = stream, .duration = dice.below(4) == 0 ? 0 : dice.below(100)};
    const auto count = static_cast<std::uint32_t>(b.program.blocks[e].ops.size());
    for (std::uint32_t i = 0; count > 0 && i < dice.below(3); ++i) op.deps.push_back(dice.below(count));
    if (dice.below(6) == 0) op.wait_streams = stream_bit(kStreamsUsed[dice.below(3)]);
    op.category = static_cast<std::uint16_t>(dice.below(5));
    if (stream != Stream::kCompute) {
      op.port_use = uses[dice.below(4)];
      op.holds_compute = dice.below(4) == 0;
      op.holds_share = !op.holds_compute && of_shares.below(3) == 0;
    }
    return op;
  };
  const std::uint32_t rounds = 5 + dice.below(20);
  for (std::uint32_t round = 0; round < rounds; ++round) {
    for (std::uint32_t e = 0; e < entities; ++e) {
      for (std::uint32_t i = dice.below(3); i > 0; --i) b.compute(e, spec(e, Stream::kCompute));
    }
    switch (dice.below(3)) {
      case 0: {
        const Stream stream = kStreamsUsed[dice.below(3)];
        for (std::uint32_t e = 0; e < entities; ++e) b.collective(e, 0, spec(e, stream));
        break;
      }
      case 1:
        for (std::uint32_t e = 0; e < entities; ++e) b.collective(e, 1, spec(e, Stream::kTp));
        break;
      default: {
        const std::uint32_t sender = dice.below(entities);
        const std::uint32_t receiver = (sender + 1) % entities;
        b.send(sender, 0, spec(sender, Stream::kPpForwardSend));
        b.receive(receiver, 1, spec(receiver, Stream::kPpForwardReceive));
      }
    }
  }
  for (std::uint32_t e = 0; e < entities; ++e) {
    for (std::uint32_t call = dice.below(3); call > 0; --call) b.program.entities[e].calls.push_back({.block = e});
  }
  // Everyone repeats equally often, or meetings of later calls would lack members.
  for (std::uint32_t e = 1; e < entities; ++e) {
    b.program.entities[e].calls.assign(b.program.entities[0].calls.size(), ReplayCall{.block = e});
  }
  return b;
}

}  // namespace moesim::test
