// A priced program in the form the engine plays: flat arrays, integer picoseconds, no strings.
//
// Entities are what the engine moves through time: one per rank, or one per role when symmetric ranks are folded. An
// entity runs its *calls* in order; a call plays one *block*, a straight list of operations that many calls share (the
// forward pass of a stage, say). Each operation is issued to a stream of its entity; streams run in order.
//
// An operation starts when
//   - all earlier operations of its stream (in issue order: call by call, op by op) have ended,
//   - its dependencies inside the block have ended,
//   - for each stream in `wait_streams`, everything issued to it before this operation has ended,
//   - for a collective: all members have reached it; the k-th collective of a (group, stream) matches the k-th of every
//     other member, and all members end together,
//   - for send and receive: both sides have reached it. Even channel slots send, odd ones receive, and slot 2i of the
//     sender is wired to slot 2i+1 of the receiver, each naming the other as its peer (say 0 -> 1 activations forwards,
//     2 -> 3 gradients backwards, 4 -> 5 and 6 -> 7 the other direction of a bidirectional pipeline). The k-th send of
//     the one matches the k-th receive of the other. All ops of a slot are issued to one stream.
// Durations are what the operation takes alone: a collective that of its slowest member, a transfer that of the sender.
// Communication that runs together on a port whose shares add up to more than one is slowed in proportion (each
// operation by its busiest port); compute beside communication that holds compute units runs slower by a factor.
// A transfer presses on the ports of both ends, each with its own op's port use: where ports stand for a direction, the send's has
// a share of what goes out and the receive's of what comes in.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace moesim {

using Picoseconds = std::int64_t;
constexpr double kPicosecondsPerSecond = 1e12;

enum class Stream : std::uint8_t {
  kCompute,
  kTp,
  kCp,
  kEp,
  kEsp,
  kDp,
  // Activations to a later stage and gradients to an earlier one ...
  kPpForwardSend,
  kPpForwardReceive,
  kPpBackwardSend,
  kPpBackwardReceive,
  // ... and the other way round, where a schedule folds the model back (V shapes, wrap-around of interleaving). Streams of
  // their own: a transfer must not queue behind one with another neighbour.
  kPpForwardSendUp,
  kPpForwardReceiveUp,
  kPpBackwardSendDown,
  kPpBackwardReceiveDown,
  kEpInside,  // token exchanges inside a node, beside those across nodes
};
constexpr int kStreams = 15;
[[nodiscard]] const char* stream_name(Stream stream);
[[nodiscard]] constexpr std::uint16_t stream_bit(Stream stream) {
  return static_cast<std::uint16_t>(1U << static_cast<unsigned>(stream));
}

enum class ReplayOpClass : std::uint8_t { kCompute, kCollective, kSend, kReceive };

struct ReplayOp {
  std::uint32_t duration = 0;   // index into the entity's duration table (its first variant)
  std::uint32_t first_dep = 0;  // into ReplayBlock::deps
  std::uint16_t dep_count = 0;
  std::uint16_t wait_streams = 0;  // bits of Stream
  Stream stream = Stream::kCompute;
  ReplayOpClass op_class = ReplayOpClass::kCompute;
  std::uint8_t group = 0;      // collective: slot in ReplayEntity::groups; send/receive: slot in ReplayEntity::channels
  bool varies = false;         // duration differs by micro-batch: table[duration + call.variant]
  bool second_half = false;    // of a block that joins two micro-batches: varies with call.second_variant instead
  bool holds_compute = false;  // communication that takes compute units away
  bool holds_share = false;  // the same of an exchange that holds ReplayProgram::share_slowdown's part of them instead
  std::uint16_t category = 0;  // for the statistics; meaning belongs to the caller
  // Of a collective: what it is to wait for it until all members have come; kOwnCategory: its category, as thereafter.
  static constexpr std::uint16_t kOwnCategory = 0xFFFF;
  std::uint16_t meeting_category = kOwnCategory;
  std::uint32_t port_use = 0;  // index into ReplayProgram::port_uses; 0: none
};

struct ReplayBlock {
  std::vector<ReplayOp> ops;
  std::vector<std::uint32_t> deps;  // op indices in this block, each smaller than the op that names it
};

struct ReplayCall {
  std::uint32_t block = 0;
  std::uint16_t variant = 0;  // selects durations that vary
  std::uint16_t second_variant = 0;
  std::int32_t micro_batch = -1;  // for labels only
};

struct PortUse {
  // Of each of the entity's ports while the operation runs alone; see CommCost::port_share.
  std::vector<float> share;
};

struct ReplayEntity {
  std::vector<ReplayCall> calls;
  std::uint32_t durations = 0;         // index of its duration table
  double compute_scale = 1;            // multiplies compute durations (stragglers)
  std::vector<std::int32_t> groups;    // group slot -> rendezvous id, -1: alone (completes by itself)
  std::vector<std::int32_t> channels;  // channel slot -> peer entity, -1: none
  std::vector<std::int32_t> ports;  // by tier and direction: port id (shared ports have one id); empty: no contention
};

struct ReplayProgram {
  std::vector<ReplayBlock> blocks;
  std::vector<ReplayEntity> entities;
  std::vector<std::int32_t> group_sizes;            // members by rendezvous id
  std::vector<std::vector<Picoseconds>> durations;  // tables
  std::vector<PortUse> port_uses{PortUse{}};
  std::int32_t ports = 0;       // number of port ids
  double compute_slowdown = 1;  // of compute beside communication that holds compute units
  double share_slowdown = 1;    // and beside an exchange that holds a share of its own; beside both: the larger
};

}  // namespace moesim
