// The blocks of a ReplayProgram sorted by stream, with every dependency as "stream t has come this far".
//
// Streams run in order, so "op i has ended" says the same as "its stream has ended its ops of this call up to i", and
// "everything issued to stream t has ended" is of the same kind. A replay therefore compares two integers per
// requirement and keeps no flags by operation. Requirements that an earlier op of the same stream and call already had
// are left out, and at most one remains for each other stream.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "sim/engine/replay_program.hpp"

namespace moesim {

// How far a stream of an entity has come: the call of its next operation (one past the last when it has none), and that
// operation's place among the ops which the call issues to this stream.
using StreamCursor = std::uint64_t;
[[nodiscard]] constexpr StreamCursor stream_cursor(std::uint32_t call, std::uint32_t place) {
  return (static_cast<StreamCursor>(call) << 32) | place;
}
[[nodiscard]] constexpr std::uint32_t cursor_call(StreamCursor cursor) {
  return static_cast<std::uint32_t>(cursor >> 32);
}

// The stream must have come to `place` in the call of the operation that needs it.
struct Need {
  std::uint32_t place = 0;
  std::uint8_t stream = 0;
};

struct CompiledOp {
  std::uint32_t duration = 0;
  std::uint32_t first_need = 0;
  std::uint32_t port_use = 0;
  std::uint32_t op = 0;  // index in ReplayBlock::ops
  std::uint16_t category = 0;
  std::uint16_t meeting_category = 0;  // category where ReplayOp has none
  std::uint8_t need_count = 0;
  std::uint8_t group = 0;
  ReplayOpClass op_class = ReplayOpClass::kCompute;
  bool varies = false;
  bool second_half = false;
  bool holds_compute = false;
  bool holds_share = false;
  bool shares = false;  // its speed depends on what runs beside it
};

struct CompiledBlock {
  std::array<std::uint32_t, kStreams + 1> first_op{};  // into CompiledProgram::ops, by stream
  std::uint32_t streams = 0;                           // bits of the streams that have ops
};

struct CompiledProgram {
  std::vector<CompiledOp> ops;
  std::vector<Need> needs;
  std::vector<CompiledBlock> blocks;
  std::uint32_t categories = 1;
};

// `contention`: whether ops are to be marked as sharing.
[[nodiscard]] CompiledProgram compile(const ReplayProgram& program, bool contention);

}  // namespace moesim
