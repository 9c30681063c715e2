#include "exec/run/expert_moves.hpp"

#include <fmt/format.h>

#include <numeric>
#include <utility>
#include <vector>

#include "exec/run/op_table.hpp"
#include "sim/plan/expert_parts.hpp"

namespace moesim {
namespace {

// Where the home of each expert was and will be, of one layer. Guests get their weights in the next step anyway.
struct HomeMove {
  std::int64_t from = 0, to = 0;  // slots
};
std::vector<HomeMove> home_moves(const LayerSlots& now, const LayerSlots& next) {
  std::vector<HomeMove> moves;
  for (std::int64_t slot = 0; slot < next.slots(); ++slot)
    if (next.expert(slot) != kNoExpert && !next.is_guest(slot)) moves.push_back({now.home(next.expert(slot)), slot});
  return moves;
}

// The ranks among which a buffer's experts move: those of the EP group, and where replicas have parts of it all of theirs, one
// replica after the other.
struct MoveGroup {
  const CommGroup* group = nullptr;
  int devices = 1;  // EP
  int parts = 1;    // EDP, where cut
};

// A run of bytes, from the beginning of a buffer.
struct ByteRun {
  std::int64_t begin = 0;
  std::int64_t bytes = 0;
};

// What one rank sends to and gets from each other one of the group, in the order of the slots where experts arrive.
struct MoveRuns {
  std::vector<std::vector<ByteRun>> taken, put;  // [member]
};

// Whether a rank's buffer has just its part, or room for everything around it.
enum class BufferOf : std::uint8_t { kPart, kWhole };

MoveRuns runs_of(const std::vector<HomeMove>& moves, std::int64_t slots_of_device, const MoveGroup& among,
                 const CutExperts& cut, BufferOf buffer, std::int64_t number_bytes) {
  const auto members = static_cast<std::size_t>(among.group->size());
  const int self = among.group->position();
  MoveRuns runs{std::vector<std::vector<ByteRun>>(members), std::vector<std::vector<ByteRun>>(members)};
  for (const auto [from, to] : moves) {
    const std::int64_t before = from % slots_of_device;
    const std::int64_t after = to % slots_of_device;
    for (const PartRun& run : part_runs(cut, before, after)) {
      const auto sender = static_cast<int>(run.from * among.devices + from / slots_of_device);
      const auto receiver = static_cast<int>(run.to * among.devices + to / slots_of_device);
      const auto run_at = [&](std::int64_t place, int part) -> ByteRun {
        const std::int64_t first = buffer == BufferOf::kPart ? part * cut.part() : 0;
        return {(place * cut.numbers + run.begin - first) * number_bytes, run.count * number_bytes};
      };
      if (sender == self) runs.taken[static_cast<std::size_t>(receiver)].push_back(run_at(before, run.from));
      if (receiver == self) runs.put[static_cast<std::size_t>(sender)].push_back(run_at(after, run.to));
    }
  }
  return runs;
}

std::vector<std::int64_t> bytes_by_member(const std::vector<std::vector<ByteRun>>& runs) {
  std::vector<std::int64_t> bytes;
  for (const std::vector<ByteRun>& of_member : runs) {
    bytes.push_back(0);
    for (const ByteRun& run : of_member) bytes.back() += run.bytes;
  }
  return bytes;
}

// Copies runs into a message, or out of it.
enum class Packing : std::uint8_t { kInto, kOutOf };
Status pack(RankContext& rank, const BufferPtr& message, const BufferPtr& buffer,
            const std::vector<std::vector<ByteRun>>& runs, Packing packing) {
  std::int64_t next = 0;
  for (const std::vector<ByteRun>& of_member : runs)
    for (const ByteRun& run : of_member) {
      std::byte* const in_message = message->as<std::byte>() + next;
      std::byte* const in_buffer = buffer->as<std::byte>() + run.begin;
      MOESIM_TRY(packing == Packing::kInto ? rank.backend.copy(rank.stream, in_message, in_buffer, Bytes(run.bytes))
                                           : rank.backend.copy(rank.stream, in_buffer, in_message, Bytes(run.bytes)));
      next += run.bytes;
    }
  return rank.backend.synchronize(rank.stream);
}

// One buffer of local experts, or this rank's part of it.
Result<Bytes> move_buffer(RankContext& rank, const MoveGroup& among, const MoveRuns& runs, const BufferPtr& buffer) {
  const std::vector<std::int64_t> send = bytes_by_member(runs.taken);
  const std::vector<std::int64_t> receive = bytes_by_member(runs.put);
  const auto allocate = [&rank](const std::vector<std::int64_t>& bytes) {
    return rank.staging.allocate(Bytes(std::accumulate(bytes.begin(), bytes.end(), std::int64_t{0})));
  };
  MOESIM_ASSIGN(const BufferPtr leaving, allocate(send));
  MOESIM_ASSIGN(const BufferPtr arriving, allocate(receive));
  MOESIM_TRY(pack(rank, leaving, buffer, runs.taken, Packing::kInto));
  MOESIM_TRY(
      rank.comm
          .all_to_all_v(*among.group, channel_of(Stream::kEp), {leaving->bytes(), send, arriving->bytes(), receive})
          .wait());
  MOESIM_TRY(pack(rank, arriving, buffer, runs.put, Packing::kOutOf));
  Bytes sent;
  for (int member = 0; member < among.group->size(); ++member)
    if (member != among.group->position()) sent += Bytes(send[static_cast<std::size_t>(member)]);
  return sent;
}

// Replica after replica of this rank's EP group.
Result<CommGroup> group_of_replicas(RankContext& rank) {
  std::vector<RankId> members;
  for (const RankId replica : rank.program.layout->group(GroupKind::kEdp, rank.rank)) {
    const auto group = rank.program.layout->group(GroupKind::kEp, replica);
    members.insert(members.end(), group.begin(), group.end());
  }
  return rank.comm.group(std::move(members));
}

}  // namespace

Status check_can_move(const Program& program, const ExpertSlots& next) {
  if (!program.loads->shadows.empty())
    return usage_error("experts cannot be moved while some of them are shadowed", "set moe_shadows to 0");
  const MoeShape* const moe = program.model.first_moe();
  if (moe == nullptr) return {};
  const ExpertSlots& now = program.plan.expert_slots;
  if (now.slots(moe->experts) != next.slots(moe->experts))
    return usage_error(fmt::format("a layer has {} slots, and {} in the plan that experts are to move to",
                                   now.slots(moe->experts), next.slots(moe->experts)),
                       "memory is taken once: give the plan that begins the same spare slots, empty ones as -1");
  for (int layer = 0; layer < program.model.moe_layer_count(); ++layer) {
    const auto places = [&](const ExpertSlots& slots) {
      return LayerSlots(slots, layer, moe->experts, program.plan.sizes().ep).places_with_state();
    };
    if (places(now) != places(next))
      return usage_error(
          fmt::format("MoE layer {} keeps an optimizer's state in {} slots of a device, and in {} in the plan that "
                      "experts are to move to",
                      layer, places(now), places(next)),
          "memory is taken once: list experts so that as many are at home on a device (docs/plan.md)");
  }
  return {};
}

Result<ExpertMoves> move_experts(RankContext& rank, const ExpertSlots& next) {
  MOESIM_TRY(check_can_move(rank.program, next));
  const ParallelSizes& sizes = rank.program.plan.sizes();
  MOESIM_ASSIGN(const CommGroup replicas, group_of_replicas(rank));
  const MoveGroup whole{&rank.group(GroupKind::kEp), sizes.ep, 1};
  const MoveGroup in_parts{&replicas, sizes.ep, sizes.edp};
  ExpertMoves result;
  for (Parameter& parameter : rank.parameters.all()) {
    const Tensor& tensor = parameter.tensor();
    if (!tensor.is_expert_weight()) continue;
    const int moe_layer = rank.moe_layer_of[tensor.layer.index()];
    const std::int64_t experts = rank.program.model.layer(tensor.layer).moe->experts;
    const std::vector<HomeMove> moves = home_moves(LayerSlots(rank.slots, moe_layer, experts, sizes.ep),
                                                   LayerSlots(next, moe_layer, experts, sizes.ep));
    const MoveGroup& among = parameter.cut >= ZeroStage::kOptimizer ? in_parts : whole;
    const CutExperts cut{tensor.elements() / tensor.groups, tensor.groups - tensor.guests.without_state, among.parts};
    const auto move = [&](const BufferPtr& buffer, BufferOf has, std::int64_t number_bytes) -> Status {
      if (!buffer) return {};
      MOESIM_ASSIGN(const Bytes sent,
                    move_buffer(rank, among, runs_of(moves, tensor.groups, among, cut, has, number_bytes), buffer));
      result.sent += sent;
      return {};
    };
    // Of whole weights with ZeRO 1 and 2 nothing but the own part is up to date between two steps.
    const BufferOf value = parameter.cut >= ZeroStage::kParameters ? BufferOf::kPart : BufferOf::kWhole;
    MOESIM_TRY(move(parameter.value, value, parameter.element_bytes()));
    for (const BufferPtr& state : {parameter.master, parameter.first, parameter.second}) {
      MOESIM_TRY(move(state, BufferOf::kPart, sizeof(float)));
    }
    const std::string_view reader =
        rank.chunks[static_cast<std::size_t>(parameter.chunk->index)].reader(parameter.weight);
    parameter.pieces = shard_pieces(rank.program, tensor, reader, rank.at, next);
    if (tensor.name != "experts.up") continue;  // each expert once
    for (const auto [from, to] : moves)
      if (to / tensor.groups == rank.at.ep && from / tensor.groups != rank.at.ep) ++result.experts;
  }
  MOESIM_TRY(rank.place_slots(next));
  return result;
}

}  // namespace moesim
