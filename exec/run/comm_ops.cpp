// Collectives of tensor and context parallelism, transfers between stages, and the exchange of routed copies.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "exec/run/op_table.hpp"

namespace moesim {
namespace {

std::span<const std::byte> readable(const BufferPtr& buffer) { return buffer->bytes(); }

const CommGroup& group_of(const OpContext& c) { return c.rank().group(c.op().group); }

// Ties an operand's memory to the task.
const BufferPtr& keep(CommTask& task, BufferPtr buffer) {
  task.buffers.push_back(std::move(buffer));
  return task.buffers.back();
}

Result<CommTask> start_gather_of_rows(const OpContext& c) {
  CommTask task;
  MOESIM_ASSIGN(const StoredTensor all, c.out(0));
  task.requests.push_back(c.rank().comm.all_gather(
      group_of(c), channel_of(c.op().stream), readable(keep(task, c.in_buffer(0))), keep(task, all.buffer)->bytes()));
  return task;
}

Result<CommTask> start_scatter_of_rows(const OpContext& c) {
  CommTask task;
  MOESIM_ASSIGN(const StoredTensor mine, c.out(0));
  task.requests.push_back(
      c.rank().comm.reduce_scatter(group_of(c), channel_of(c.op().stream), {mine.view.type, ReduceKind::kSum},
                                   readable(keep(task, c.in_buffer(0))), keep(task, mine.buffer)->bytes()));
  return task;
}

// Largest logit, sum of exponentials and label's logit of the whole vocabulary: not a sum, so the parts are gathered.
Result<CommTask> start_loss_reduction(const OpContext& c) {
  RankContext& rank = c.rank();
  CommTask task;
  const CommGroup& group = group_of(c);
  const MatrixView part = c.in(0);
  MOESIM_ASSIGN(const StoredTensor combined, c.out(0));
  MOESIM_ASSIGN(const BufferPtr parts, rank.staging.allocate(group.size() * part.rows * part.columns, DType::kFp32));
  task.requests.push_back(rank.comm.all_gather(group, channel_of(c.op().stream), readable(keep(task, c.in_buffer(0))),
                                               keep(task, parts)->bytes()));
  task.then = [c, parts, part, combined, members = group.size()](CommTask&) -> Status {
    std::vector<MatrixView> views;
    const MatrixView all = dense_view(parts->data(), DType::kFp32, members * part.rows, part.columns);
    for (int i = 0; i < members; ++i) views.push_back(row_range(all, i * part.rows, part.rows));
    RankContext& owner = c.rank();
    MOESIM_TRY(owner.backend.combine_loss(owner.stream, {views, combined.view}));
    if (owner.at.tp > 0) return {};  // all ranks of the group know the same loss; one counts it
    return owner.backend.loss_sum(owner.stream,
                                  {combined.view, index_view(c.rows().labels), owner.loss_sum->as<double>()});
  };
  return task;
}

Result<CommTask> start_sum(const OpContext& c) {
  if (c.op().inputs[0] == c.index().loss_statistics()) return start_loss_reduction(c);
  RankContext& rank = c.rank();
  CommTask task;
  MOESIM_ASSIGN(const StoredTensor sum, c.out(0));
  MOESIM_TRY(rank.backend.copy(rank.stream, sum.buffer->data(), c.in_buffer(0)->data(), sum.buffer->size()));
  task.requests.push_back(rank.comm.all_reduce(group_of(c), channel_of(c.op().stream),
                                               {sum.view.type, ReduceKind::kSum}, keep(task, sum.buffer)->bytes()));
  return task;
}

Result<CommTask> start_transfer(const OpContext& c) {
  RankContext& rank = c.rank();
  CommTask task;
  const RankId peer =
      rank.program.layout->group(GroupKind::kPp, rank.rank)[static_cast<std::size_t>(c.op().peer_stage)];
  if (c.op().kind == OpKind::kSend) {
    task.requests.push_back(rank.comm.send(peer, channel_of(c.op().stream), readable(keep(task, c.in_buffer(0)))));
    return task;
  }
  MOESIM_ASSIGN(const StoredTensor arriving, c.out(0));
  task.requests.push_back(rank.comm.receive(peer, channel_of(c.op().stream), keep(task, arriving.buffer)->bytes()));
  return task;
}

// As many rows on every rank, in contrast to copies.
bool are_tokens(const OpContext& c) { return c.tensor(c.op().inputs[0]).rows.source == RowSource::kFixed; }

std::int64_t row_bytes(const MatrixView& view) { return storage(view.columns, view.type).count(); }

// All-to-all-v over EP: out in the order of experts, or back.
Status exchange_over_ep(const OpContext& c, CommTask& task) {
  const RoutingState& state = c.routing();
  const RowPiece& piece = c.tensor(c.op().inputs[0]).rows.piece;
  return exchange_rows(c, task, [&](std::size_t a, std::size_t b) {
    return state.sent(static_cast<int>(a), static_cast<int>(b), state.j, piece);
  });
}

// All-to-all-v between all ranks of the group: to every shard of a copy's expert, or back from each.
Status exchange_with_shards(const OpContext& c, CommTask& task) {
  const RoutingState& state = c.routing();
  const RowPiece& piece = c.tensor(c.op().inputs[0]).rows.piece;
  return exchange_rows(c, task, [&](std::size_t a, std::size_t b) {
    return state.sent(state.members[a].i, state.members[b].i, state.members[a].j, piece);
  });
}

// The shares that the ranks of a TP group have of its copies, one behind the other.
Result<CommTask> start_gather_of_shares(const OpContext& c) {
  const RoutingState& state = c.routing();
  CommTask task;
  for (int operand = 0; operand < c.op().inputs.size(); ++operand) {
    MOESIM_ASSIGN(const StoredTensor y, c.out(operand));
    std::vector<std::int64_t> blocks;
    for (int of = 0; of < state.sharers; ++of) blocks.push_back(state.share(of) * row_bytes(y.view));
    task.requests.push_back(c.rank().comm.all_gather_v(group_of(c), channel_of(c.op().stream),
                                                       readable(keep(task, c.in_buffer(operand))),
                                                       keep(task, y.buffer)->bytes(), blocks));
  }
  return task;
}

// What arrived at each shard goes to all shards, or the partial results back, summed.
Status share_over_esp(const OpContext& c, CommTask& task) {
  const RoutingState& state = c.routing();
  const RowPiece& piece = c.tensor(c.op().inputs[0]).rows.piece;
  for (int operand = 0; operand < c.op().inputs.size(); ++operand) {
    MOESIM_ASSIGN(const StoredTensor y, c.out(operand));
    std::vector<std::int64_t> blocks;
    const bool gather = c.op().kind == OpKind::kAllGather;
    for (int shard = 0; shard < state.esp; ++shard)
      blocks.push_back(state.arrived(shard, piece) * (gather ? row_bytes(y.view) : y.view.columns));
    Communicator& comm = c.rank().comm;
    const Channel channel = channel_of(c.op().stream);
    const auto input = readable(keep(task, c.in_buffer(operand)));
    const auto output = keep(task, y.buffer)->bytes();
    task.requests.push_back(
        gather ? comm.all_gather_v(group_of(c), channel, input, output, blocks)
               : comm.reduce_scatter_v(group_of(c), channel, {y.view.type, ReduceKind::kSum}, input, output, blocks));
  }
  return {};
}

Status start_copies(const OpContext& c, CommTask& task) {
  switch (c.op().group) {
    case GroupKind::kEsp: return share_over_esp(c, task);
    case GroupKind::kEpEsp: return exchange_with_shards(c, task);
    default: return exchange_over_ep(c, task);
  }
}

// The counts of all ranks of the group, in the order that RoutingState reads them in.
void take_counts(const OpContext& c, const std::vector<std::int32_t>& gathered) {
  RoutingState& state = c.routing();
  const auto experts = static_cast<std::ptrdiff_t>(state.experts);
  state.counts.resize(gathered.size());
  if (c.op().group == GroupKind::kEpEsp) {
    state.path = CopyPath::kToEveryShard;
  } else {
    state.path = c.rank().program.loads->shards_apart ? CopyPath::kShardsApart : CopyPath::kOverEp;
  }
  for (std::size_t m = 0; m < state.members.size(); ++m) {
    const auto [i, j] = state.members[m];
    const auto from = gathered.begin() + static_cast<std::ptrdiff_t>(m) * experts;
    std::copy(from, from + experts, state.counts.begin() + (j * state.ep + i) * experts);
  }
}

}  // namespace

Channel channel_of(Stream stream) {
  const auto number = static_cast<std::int32_t>(stream);
  // The receiving stream stands behind the sending one that it belongs to.
  const auto first = static_cast<std::int32_t>(Stream::kPpForwardSend);
  return Channel(number < first ? number : first + (number - first) / 2 * 2);
}

Status exchange_rows(const OpContext& c, CommTask& task, const RowsBetween& rows) {
  const CommGroup& group = group_of(c);
  const auto members = static_cast<std::size_t>(group.size());
  const auto own = static_cast<std::size_t>(c.rank().program.layout->index_in_group(c.op().group, c.rank().rank));
  const bool out = c.op().kind == OpKind::kDispatch;
  for (int operand = 0; operand < c.op().inputs.size(); ++operand) {
    MOESIM_ASSIGN(const StoredTensor y, c.out(operand));
    std::vector<std::int64_t> all;  // what every member sends to every other, for algorithms that hand on
    for (std::size_t a = 0; a < members; ++a)
      for (std::size_t b = 0; b < members; ++b) all.push_back((out ? rows(a, b) : rows(b, a)) * row_bytes(y.view));
    std::vector<std::int64_t> send;
    std::vector<std::int64_t> receive;
    for (std::size_t m = 0; m < members; ++m) {
      send.push_back(all[own * members + m]);
      receive.push_back(all[m * members + own]);
    }
    task.requests.push_back(
        c.rank().comm.all_to_all_v(group, channel_of(c.op().stream),
                                   {readable(keep(task, c.in_buffer(operand))), send, keep(task, y.buffer)->bytes(),
                                    receive, c.rank().program.plan.all_to_all, all}));
  }
  return {};
}

Result<CommTask> start_exchange(const OpContext& c) {
  RankContext& rank = c.rank();
  RoutingState& state = c.routing();
  CommTask task;
  if (state.known()) {
    MOESIM_TRY(start_copies(c, task));
    return task;
  }
  // Nobody knows yet how much arrives: the ranks tell each other first.
  const std::size_t bytes = state.own_counts.size() * sizeof(std::int32_t);
  const CommGroup& group = rank.group(GroupKind::kEpEsp);
  const auto gathered =
      std::make_shared<std::vector<std::int32_t>>(state.own_counts.size() * static_cast<std::size_t>(group.size()));
  task.requests.push_back(rank.comm.all_gather(group, channel_of(c.op().stream),
                                               std::as_bytes(std::span(state.own_counts)).first(bytes),
                                               std::as_writable_bytes(std::span(*gathered))));
  task.then = [c, gathered](CommTask& next) -> Status {
    take_counts(c, *gathered);
    return start_copies(c, next);
  };
  return task;
}

Result<CommTask> start_communication(const OpContext& c) {
  MOESIM_TRY(c.check_inputs());
  switch (c.op().kind) {
    case OpKind::kAllGather:
      if (are_tokens(c)) return start_gather_of_rows(c);
      return c.op().group == GroupKind::kTp ? start_gather_of_shares(c) : start_exchange(c);
    case OpKind::kReduceScatter: return are_tokens(c) ? start_scatter_of_rows(c) : start_exchange(c);
    case OpKind::kDispatch:
    case OpKind::kCombine: return carries_visits(c) ? start_visits(c) : start_exchange(c);
    case OpKind::kAllReduce: return start_sum(c);
    case OpKind::kFetchExperts:
    case OpKind::kReturnExpertGrads: return start_expert_transfer(c);
    case OpKind::kSend:
    case OpKind::kReceive: return start_transfer(c);
    case OpKind::kReduceGrads:
    case OpKind::kGatherParams:
    case OpKind::kGradNorm: return start_synchronisation(c);
    default:
      return fail(ErrorKind::kInternal, fmt::format("{} {} is not executed", op_kind_name(c.op().kind), c.op().name));
  }
}

}  // namespace moesim
