#include "exec/run/expert_moves.hpp"

#include <utility>
#include <vector>

#include "exec/run/op_table.hpp"

namespace moesim {
namespace {

// Who sends which of its experts to whom, for one layer.
class LayerMoves {
 public:
  LayerMoves(const ExpertSlots& now, const ExpertSlots& next, int moe_layer, int ep, std::int64_t local)
      : ep_(ep), local_(local) {
    std::vector<std::int64_t> slot_now(static_cast<std::size_t>(ep * local));
    for (std::int64_t slot = 0; slot < ep * local; ++slot)
      slot_now[static_cast<std::size_t>(now.expert(moe_layer, slot))] = slot;
    for (std::int64_t slot = 0; slot < ep * local; ++slot)
      from_.push_back(slot_now[static_cast<std::size_t>(next.expert(moe_layer, slot))]);
  }
  // The places at member `from` of what it sends to member `to`, in the order of the slots there; and those at `to`.
  struct Route {
    std::vector<std::int64_t> taken, put;
  };
  [[nodiscard]] Route route(int from, int to) const {
    Route route;
    for (std::int64_t place = 0; place < local_; ++place) {
      const std::int64_t source = from_[static_cast<std::size_t>(to * local_ + place)];
      if (source / local_ != from) continue;
      route.taken.push_back(source % local_);
      route.put.push_back(place);
    }
    return route;
  }
  [[nodiscard]] int ep() const { return ep_; }

 private:
  int ep_;
  std::int64_t local_;
  std::vector<std::int64_t> from_;  // [slot]: where its expert stood
};

// One buffer of local experts, one below the other.
Result<Bytes> move_buffer(RankContext& rank, const LayerMoves& moves, const BufferPtr& buffer, std::int64_t experts) {
  const std::int64_t block = buffer->size().count() / experts;
  MOESIM_ASSIGN(const BufferPtr leaving, rank.staging.allocate(buffer->size()));
  MOESIM_ASSIGN(const BufferPtr arriving, rank.staging.allocate(buffer->size()));
  const auto at = [block](const BufferPtr& of, std::int64_t place) { return of->as<std::byte>() + place * block; };
  std::vector<std::int64_t> send, receive;
  Bytes sent;
  std::int64_t next = 0;
  for (int member = 0; member < moves.ep(); ++member) {
    const std::vector<std::int64_t> taken = moves.route(rank.at.ep, member).taken;
    for (const std::int64_t place : taken) {
      MOESIM_TRY(rank.backend.copy(rank.stream, at(leaving, next++), at(buffer, place), Bytes(block)));
    }
    send.push_back(std::ssize(taken) * block);
    receive.push_back(std::ssize(moves.route(member, rank.at.ep).put) * block);
    if (member != rank.at.ep) sent += Bytes(send.back());
  }
  MOESIM_TRY(rank.backend.synchronize(rank.stream));
  MOESIM_TRY(rank.comm
                 .all_to_all_v(rank.group(GroupKind::kEp), channel_of(Stream::kEp),
                               {leaving->bytes(), send, arriving->bytes(), receive})
                 .wait());
  next = 0;
  for (int member = 0; member < moves.ep(); ++member)
    for (const std::int64_t place : moves.route(member, rank.at.ep).put) {
      MOESIM_TRY(rank.backend.copy(rank.stream, at(buffer, place), at(arriving, next++), Bytes(block)));
    }
  MOESIM_TRY(rank.backend.synchronize(rank.stream));
  return sent;
}

}  // namespace

Status check_can_move(const Plan& plan, const RoutedLoads& loads) {
  if (plan.sizes().edp > 1 && plan.zero_expert != ZeroStage::kNone)
    return usage_error("experts whose optimizer state is cut over their replicas cannot be moved in a run",
                       "set zero_expert to 0, or edp to 1");
  if (!loads.shadows.empty())
    return usage_error("experts cannot be moved while some of them are shadowed", "set moe_shadows to 0");
  return {};
}

Result<ExpertMoves> move_experts(RankContext& rank, const ExpertSlots& next) {
  MOESIM_TRY(check_can_move(rank.program.plan, *rank.program.loads));
  ExpertMoves result;
  for (Parameter& parameter : rank.parameters.all()) {
    const Tensor& tensor = parameter.tensor();
    if (!tensor.is_expert_weight()) continue;
    const LayerMoves moves(rank.slots, next, rank.moe_layer_of[tensor.layer.index()], rank.program.plan.sizes().ep,
                           tensor.groups);
    for (const BufferPtr& buffer : {parameter.value, parameter.master, parameter.first, parameter.second}) {
      if (!buffer) continue;
      MOESIM_ASSIGN(const Bytes sent, move_buffer(rank, moves, buffer, tensor.groups));
      result.sent += sent;
    }
    const std::string_view reader =
        rank.chunks[static_cast<std::size_t>(parameter.chunk->index)].reader(parameter.weight);
    parameter.pieces = shard_pieces(rank.program, tensor, reader, rank.at, next);
    if (tensor.name != "experts.up") continue;  // each expert once
    for (int member = 0; member < moves.ep(); ++member)
      if (member != rank.at.ep) result.experts += std::ssize(moves.route(member, rank.at.ep).put);
  }
  MOESIM_TRY(rank.place_slots(next));
  return result;
}

}  // namespace moesim
