// The gate, and what puts token copies in order.
#include <fmt/format.h>

#include <utility>
#include <vector>

#include "exec/run/dealt_rows.hpp"
#include "exec/run/op_table.hpp"
#include "exec/run/recut_rows.hpp"

namespace moesim {
namespace {

GateSettings gate_of(const OpContext& c) {
  const MoeShape& moe = *c.layer().moe;
  return {moe.top_k,  moe.score,     c.rank().settings.normalise_gate, c.rank().settings.gate_scale,
          moe.groups, moe.top_groups};
}

Status run_top_k(const OpContext& c) {
  RankContext& rank = c.rank();
  MOESIM_ASSIGN(const StoredTensor probabilities, c.out(0));
  TopKArgs args;
  args.gate = gate_of(c);
  args.logits = c.in(0);
  if (c.op().inputs.size() > 1) args.bias = c.in(1);
  args.probabilities = probabilities.view;
  if (rank.settings.gating == Gating::kReplay)
    args.forced_counts = rank.program.loads->chosen_row(
        rank.moe_layer_of[c.op().layer.index()], c.micro_batch() % rank.program.loads->variants, rank.load_source);
  if (rank.settings.balance_coefficient > 0) {
    BufferPtr& statistics = c.routing().statistics;
    MOESIM_ASSIGN(statistics, rank.staging.allocate(2 * args.logits.columns, DType::kFp32));
    args.statistics = dense_view(statistics->data(), DType::kFp32, 2, args.logits.columns);
  }
  return rank.backend.top_k(rank.stream, args);
}

Status run_top_k_grad(const OpContext& c) {
  RankContext& rank = c.rank();
  MOESIM_ASSIGN(const StoredTensor glogits, c.out(0));
  TopKGradArgs args{gate_of(c), c.in(0), c.in(1), c.in(2), std::nullopt, glogits.view};
  if (rank.settings.balance_coefficient > 0) {
    const Plan& plan = rank.program.plan;
    // Whose mean is taken: of all ranks of a stage, or of the TP groups where their ranks gate the same tokens and each sees the
    // whole gradient.
    const CopyDivision division = rank.program.division;
    const bool apart = division == CopyDivision::kOwnTokens || division == CopyDivision::kAllOfEspGroup;
    const int alike = apart ? 1 : plan.sizes().tp;
    const int parts = plan.micro_batches() * plan.sizes().world() / (plan.sizes().pp * alike);
    args.balance = BalanceLoss{rank.settings.balance_coefficient / static_cast<float>(parts), args.logits.rows,
                               dense_view(c.routing().statistics->data(), DType::kFp32, 2, args.logits.columns)};
  }
  return rank.backend.top_k_grad(rank.stream, args);
}

// Whether a permutation picks, of the tokens of all ranks of the group, the copies for this rank's experts.
bool picks_local_copies(const OpContext& c) {
  return c.tensor(c.op().outputs[0]).rows.source == RowSource::kArrivedShards;
}

// A gate that sees tokens of others as well: those rows of it that are this rank's own, so that each token is told of once.
MatrixView own_rows(const OpContext& c, const MatrixView& gated) {
  const RankContext& rank = c.rank();
  MatrixView of_group = gated;
  const ParallelSizes& sizes = rank.program.plan.sizes();
  if (picks_local_copies(c)) {
    const std::int64_t rows = gated.rows / (sizes.ep * sizes.esp);
    return row_range(gated, rows * rank.program.layout->index_in_group(GroupKind::kEpEsp, rank.rank), rows);
  }
  if (rank.program.division == CopyDivision::kOwnTokens) return gated;
  if (rank.program.division == CopyDivision::kAllOfEspGroup) {
    const std::int64_t rows = gated.rows / sizes.esp;
    of_group = row_range(gated, rows * rank.program.layout->index_in_group(GroupKind::kEsp, rank.rank), rows);
  }
  const std::int64_t rows = of_group.rows / sizes.tp;
  return row_range(of_group, rows * rank.at.tp, rows);
}

// Where the copies go. A repeated forward pass chooses the same.
Status make_map(const OpContext& c, RoutingState& state) {
  RankContext& rank = c.rank();
  const MoeShape& moe = *c.layer().moe;
  const Plan& plan = rank.program.plan;
  const MatrixView probabilities = c.in(1);
  const bool spare = rank.slots.has_spare(moe.experts);
  state.experts = rank.slots.slots(moe.experts);
  state.ep = plan.sizes().ep;
  state.esp = plan.sizes().esp;
  state.i = rank.at.ep;
  state.j = rank.at.esp;
  const RoutedLoads& loads = *rank.program.loads;
  state.shadows.clear();
  if (!loads.shadows.empty())
    for (int expert = 0; expert < static_cast<int>(moe.experts); ++expert)
      state.shadows.push_back(loads.shadow_place(rank.moe_layer_of[c.op().layer.index()], expert));
  state.members.clear();
  for (const RankId member : rank.program.layout->group(GroupKind::kEpEsp, rank.rank)) {
    const Layout::Coordinates& at = rank.program.layout->at(member);
    state.members.push_back({at.ep, at.esp});
  }
  const bool local = picks_local_copies(c);
  state.map.tokens = probabilities.rows;
  state.map.top_k = moe.top_k;
  state.map.experts = local ? state.local_experts() : moe.experts;
  state.map.first_expert = local ? state.i * state.local_experts() : 0;
  state.map.all_experts = moe.experts;
  state.map.slots = slots_of_layer(c);
  if (plan.capacity_factor > 0) {
    state.map.capacity = expert_capacity(plan.capacity_factor, probabilities.rows, moe.top_k, moe.experts);
    state.map.padding = plan.pad_to_capacity ? CapacityPadding::kFull : CapacityPadding::kNone;
  }
  MOESIM_ASSIGN(state.expert_rows, rank.staging.allocate(state.map.experts, DType::kInt32));
  MOESIM_ASSIGN(state.row_of_copy, rank.staging.allocate(state.map.tokens * state.map.top_k, DType::kInt32));
  MOESIM_ASSIGN(state.copy_of_row, rank.staging.allocate(state.map.most_rows(), DType::kInt32));
  state.map.expert_rows = state.expert_rows->as<std::int32_t>();
  state.map.row_of_copy = state.row_of_copy->as<std::int32_t>();
  state.map.copy_of_row = state.copy_of_row->as<std::int32_t>();
  MOESIM_TRY(rank.backend.build_routing(rank.stream, {probabilities, state.map}));
  state.gated_counts.resize(static_cast<std::size_t>(state.map.experts));
  MOESIM_TRY(
      rank.backend.copy_out(rank.stream, state.gated_counts.data(), state.map.expert_rows, state.expert_rows->size()));
  MOESIM_TRY(rank.backend.synchronize(rank.stream));
  if (spare) {
    DealtRows dealt = deal_out(rank.layer_slots(c.op().layer), state.gated_counts, loads.turn(rank.load_source));
    MOESIM_TRY(rank.backend.deal_rows(rank.stream, {state.map, dealt.runs}));
    state.gated_counts = std::move(dealt.of_slot);
  }
  if (rank.program.division == CopyDivision::kShareOfEachExpert) {
    state.sharers = plan.sizes().tp;
    state.sharer = rank.at.tp;
  }
  state.own_counts.clear();
  for (const std::int32_t count : state.gated_counts)
    state.own_counts.push_back(static_cast<std::int32_t>(share_of(count, state.sharer, state.sharers)));
  // A capacity may drop copies of what was chosen. What visitors chose their own ranks have told.
  if (!carries_visits(c)) {
    GateChoice choice{c.op().layer, c.micro_batch(), state.gated_counts};
    if (plan.capacity_factor > 0 || rank.program.division != CopyDivision::kOwnTokens || local ||
        state.map.slots != nullptr || spare) {
      MOESIM_ASSIGN(const std::vector<std::int32_t> chosen, chosen_experts(c, own_rows(c, probabilities)));
      choice.counts = counts_of(chosen, moe.experts);
    }
    rank.choices.push_back(std::move(choice));
  }
  if (local) {
    state.path = CopyPath::kNotAtAll;
    return {};
  }
  if (state.ep == 1 && (state.esp == 1 || rank.program.loads->shards_apart)) {  // nothing will be exchanged
    state.path = state.esp == 1 ? CopyPath::kOverEp : CopyPath::kShardsApart;
    for (int shard = 0; shard < state.esp; ++shard)
      state.counts.insert(state.counts.end(), state.own_counts.begin(), state.own_counts.end());
  }
  return {};
}

Status run_permute(const OpContext& c) {
  RoutingState& state = c.routing();
  if (!state.expert_rows) {
    MOESIM_TRY(make_map(c, state));
  }
  MOESIM_ASSIGN(const StoredTensor y, c.out(0));
  MOESIM_ASSIGN(const StoredTensor weights, c.out(1));
  return c.rank().backend.permute(c.rank().stream, {state.map, c.in(0), c.in(1), y.view, weights.view});
}

Status run_permute_grad(const OpContext& c) {
  MOESIM_ASSIGN(const StoredTensor gx, c.out(0));
  MOESIM_ASSIGN(const StoredTensor gp, c.out(1));
  return c.rank().backend.permute_grad(c.rank().stream, {c.routing().map, c.in(0), c.in(1), gx.view, gp.view});
}

// The weights were applied by the experts' activation; here the copies are only summed.
Status run_unpermute(const OpContext& c) {
  MOESIM_ASSIGN(const StoredTensor x, c.out(0));
  return c.rank().backend.unpermute(c.rank().stream, {c.routing().map, c.in(0), std::nullopt, x.view});
}

Status run_unpermute_grad(const OpContext& c) {
  MOESIM_ASSIGN(const StoredTensor gy, c.out(0));
  return c.rank().backend.unpermute_grad(c.rank().stream,
                                         {c.routing().map, c.in(0), std::nullopt, std::nullopt, gy.view, std::nullopt});
}

// Pieces that have arrived, one behind the other, against all rows in the order of their sources.
bool sorts_arrived_pieces(const OpContext& c) {
  return !c.op().cut.whole() && c.tensor(c.op().inputs[0]).rows.source == RowSource::kArrived;
}

// Rows by whom they are for: pieces, the ranks that share them out, or the ranks they came from.
std::vector<std::int64_t> rows_to_sort(const OpContext& c) {
  const RoutingState& state = c.routing();
  const RowCount& rows = c.tensor(c.op().inputs[0]).rows;
  if (sorts_arrived_pieces(c)) return state.rows_by_source_of_pieces(c.op().cut.by, c.op().cut.of);
  if (!c.op().cut.whole()) return state.rows_by_piece(c.op().cut.by, c.op().cut.of);
  return rows.source == RowSource::kGated ? state.rows_by_sharer() : state.rows_by_source(rows.piece);
}

Status run_sort(const OpContext& c) {
  const bool before_dispatch = !c.op().cut.whole() || c.tensor(c.op().inputs[0]).rows.source == RowSource::kGated;
  const std::vector<std::int64_t> counts = rows_to_sort(c);
  std::int64_t experts = before_dispatch ? c.routing().experts : c.routing().local_experts();
  if (sorts_arrived_pieces(c)) experts = std::ssize(counts) / c.op().cut.of;  // of each source
  const RowOrder order = c.op().to_source != 0 ? RowOrder::kBySource : RowOrder::kByExpert;
  for (int i = 0; i < c.op().inputs.size(); ++i) {
    MOESIM_ASSIGN(const StoredTensor y, c.out(i));
    MOESIM_TRY(c.rank().backend.sort_rows(c.rank().stream, {counts, experts, order, c.in(i), y.view}));
  }
  return {};
}

// Where this rank's share of a group's rows begins: of tokens by its place, of copies by the shares of those before it.
std::int64_t first_of_share(const OpContext& c) {
  const RankContext& rank = c.rank();
  const RowCount& rows = c.tensor(c.op().inputs[0]).rows;
  const int place = rank.program.layout->index_in_group(c.op().group, rank.rank);
  if (rows.source == RowSource::kFixed) return rows.count / rank.program.layout->group_size(c.op().group) * place;
  const RoutingState& state = c.routing();
  std::int64_t first = 0;
  for (int before = 0; before < place; ++before)
    first += rows.source == RowSource::kGated ? state.share(before) : state.arrived(before, rows.piece);
  return first;
}

Status run_take_share(const OpContext& c) {
  const std::int64_t first = first_of_share(c);
  for (int operand = 0; operand < c.op().inputs.size(); ++operand) {
    const MatrixView x = c.in(operand);
    MOESIM_ASSIGN(const StoredTensor y, c.out(operand));
    const MatrixView share = row_range(x, first, y.view.rows);
    MOESIM_TRY(c.rank().backend.copy(c.rank().stream, y.view.data, share.data, y.buffer->size()));
  }
  return {};
}

Status run_split_columns(const OpContext& c) {
  const MatrixView x = c.in(0);
  for (int piece = 0; piece < c.op().outputs.size(); ++piece) {
    MOESIM_ASSIGN(const StoredTensor y, c.out(piece));
    const MatrixView part = column_range(x, piece * y.view.columns, y.view.columns);
    MOESIM_TRY(c.rank().backend.cast(c.rank().stream, {part, y.view}));
  }
  return {};
}

Status run_join_columns(const OpContext& c) {
  MOESIM_ASSIGN(const StoredTensor y, c.out(0));
  for (int piece = 0; piece < c.op().inputs.size(); ++piece) {
    const MatrixView x = c.in(piece);
    MOESIM_TRY(c.rank().backend.cast(c.rank().stream, {x, column_range(y.view, piece * x.columns, x.columns)}));
  }
  return {};
}

Status run_split_rows(const OpContext& c) {
  std::int64_t row = 0;
  for (int piece = 0; piece < c.op().outputs.size(); ++piece) {
    MOESIM_ASSIGN(const StoredTensor y, c.out(piece));
    const MatrixView part = row_range(c.in(0), row, y.view.rows);
    MOESIM_TRY(c.rank().backend.copy(c.rank().stream, y.view.data, part.data, y.buffer->size()));
    row += y.view.rows;
  }
  return {};
}

Status run_join_rows(const OpContext& c) {
  MOESIM_ASSIGN(const StoredTensor y, c.out(0));
  std::int64_t row = 0;
  for (int piece = 0; piece < c.op().inputs.size(); ++piece) {
    const MatrixView x = c.in(piece);
    const MatrixView part = row_range(y.view, row, x.rows);
    MOESIM_TRY(c.rank().backend.copy(c.rank().stream, part.data, x.data, storage(x.rows * x.columns, x.type)));
    row += x.rows;
  }
  return {};
}

// Of each piece the rows by blocks, one for each source and expert, in the order of its rows.
RowsByPiece blocks_of_pieces(const OpContext& c, const OperandList& pieces) {
  RowsByPiece blocks;
  for (const TensorId id : pieces) {
    const std::vector<std::int64_t> rows = c.routing().rows_by_source(c.tensor(id).rows.piece);
    if (c.op().to_source != 0) {
      blocks.push_back(rows);
      continue;
    }
    std::vector<std::int64_t>& by_expert = blocks.emplace_back();
    const auto experts = static_cast<std::size_t>(c.routing().local_experts());
    for (std::size_t expert = 0; expert < experts; ++expert)
      for (std::size_t block = expert; block < rows.size(); block += experts) by_expert.push_back(rows[block]);
  }
  return blocks;
}

// Rows are moved bit by bit; two numbers of FP8 as one of BF16.
MatrixView bits_of(const MatrixView& view) {
  if (view.type != DType::kFp8) return view;
  return {view.data, DType::kBf16, view.rows, view.columns / 2, view.row_stride / 2};
}

Status run_recut(const OpContext& c) {
  if (const Tensor& rows = c.tensor(c.op().inputs[0]); rows.type == DType::kFp8 && rows.columns % 2 != 0)
    return usage_error(fmt::format("rows of {} numbers in FP8 cannot be cut again, the number is odd", rows.columns),
                       "leave moe_backward_degree out, or set recompute to none");
  std::vector<MatrixView> results;
  for (int piece = 0; piece < c.op().outputs.size(); ++piece) {
    MOESIM_ASSIGN(const StoredTensor y, c.out(piece));
    results.push_back(bits_of(y.view));
  }
  const auto moves = recut_rows(blocks_of_pieces(c, c.op().inputs), blocks_of_pieces(c, c.op().outputs));
  for (const RunsBetweenPieces& move : moves) {
    MOESIM_TRY(c.rank().backend.move_rows(
        c.rank().stream, {move.runs, bits_of(c.in(move.from)), results[static_cast<std::size_t>(move.to)]}));
  }
  return {};
}

// One part for each rank of the group: the copies whose experts it has a shard of.
Status run_replicate(const OpContext& c) {
  RankContext& rank = c.rank();
  const RoutingState& state = c.routing();
  for (int operand = 0; operand < c.op().inputs.size(); ++operand) {
    const MatrixView x = c.in(operand);
    MOESIM_ASSIGN(const StoredTensor y, c.out(operand));
    const RowPiece& piece = c.tensor(c.op().inputs[operand]).rows.piece;
    std::int64_t row = 0;
    for (const RoutingState::Member& member : state.members) {
      const std::int64_t rows = state.routed_to(member.i, piece);
      const MatrixView from = row_range(x, state.first_routed(member.i, piece), rows);
      const MatrixView to = row_range(y.view, row, rows);
      MOESIM_TRY(rank.backend.copy(rank.stream, to.data, from.data, storage(rows * x.columns, x.type)));
      row += rows;
    }
  }
  return {};
}

// A sum begins with the part of the first rank of its EP member and takes those of the other shards as they follow.
Status run_sum_replicas(const OpContext& c) {
  RankContext& rank = c.rank();
  const RoutingState& state = c.routing();
  for (int operand = 0; operand < c.op().inputs.size(); ++operand) {
    const MatrixView x = c.in(operand);
    MOESIM_ASSIGN(const StoredTensor y, c.out(operand));
    const RowPiece& piece = c.tensor(c.op().inputs[operand]).rows.piece;
    std::vector<bool> begun(static_cast<std::size_t>(state.ep), false);
    std::int64_t row = 0;
    for (const RoutingState::Member& member : state.members) {
      const std::int64_t rows = state.routed_to(member.i, piece);
      const MatrixView part = row_range(x, row, rows);
      const MatrixView sum = row_range(y.view, state.first_routed(member.i, piece), rows);
      row += rows;
      if (begun[static_cast<std::size_t>(member.i)]) {
        MOESIM_TRY(rank.backend.add(rank.stream, {sum, part, sum}));
        continue;
      }
      MOESIM_TRY(rank.backend.copy(rank.stream, sum.data, part.data, storage(rows * x.columns, x.type)));
      begun[static_cast<std::size_t>(member.i)] = true;
    }
  }
  return {};
}

}  // namespace

const std::int32_t* slots_of_layer(const OpContext& c) {
  const RankContext& rank = c.rank();
  if (rank.slot_of_expert.empty()) return nullptr;
  return rank.slot_of_expert[static_cast<std::size_t>(rank.moe_layer_of[c.op().layer.index()])]->as<std::int32_t>();
}

Result<std::vector<std::int32_t>> chosen_experts(const OpContext& c, const MatrixView& probabilities) {
  RankContext& rank = c.rank();
  std::vector<float> rows(static_cast<std::size_t>(probabilities.rows * probabilities.columns));
  MOESIM_TRY(rank.backend.copy_out(rank.stream, rows.data(), probabilities.data,
                                   storage(probabilities.rows * probabilities.columns, DType::kFp32)));
  MOESIM_TRY(rank.backend.synchronize(rank.stream));
  std::vector<std::int32_t> chosen;
  const auto k = static_cast<std::size_t>(c.layer().moe->top_k);
  for (std::size_t row = 0; row < rows.size(); row += 2 * k)
    for (std::size_t i = row + k; i < row + 2 * k; ++i) chosen.push_back(static_cast<std::int32_t>(rows[i]));
  return chosen;
}

std::vector<std::int32_t> counts_of(const std::vector<std::int32_t>& chosen, std::int64_t experts) {
  std::vector<std::int32_t> counts(static_cast<std::size_t>(experts), 0);
  for (const std::int32_t expert : chosen) ++counts[static_cast<std::size_t>(expert)];
  return counts;
}

Status run_routing(const OpContext& c) {
  switch (c.op().kind) {
    case OpKind::kTopK: return run_top_k(c);
    case OpKind::kTopKGrad: return run_top_k_grad(c);
    case OpKind::kPermute: return run_permute(c);
    case OpKind::kPermuteGrad: return run_permute_grad(c);
    case OpKind::kUnpermute: return run_unpermute(c);
    case OpKind::kUnpermuteGrad: return run_unpermute_grad(c);
    case OpKind::kTakeShare: return run_take_share(c);
    case OpKind::kSplitColumns: return run_split_columns(c);
    case OpKind::kJoinColumns: return run_join_columns(c);
    case OpKind::kSplitRows: return run_split_rows(c);
    case OpKind::kJoinRows: return run_join_rows(c);
    case OpKind::kRecut: return run_recut(c);
    case OpKind::kReplicate: return run_replicate(c);
    case OpKind::kSumReplicas: return run_sum_replicas(c);
    case OpKind::kSpread: return run_spread(c);
    case OpKind::kSumSpread: return run_sum_spread(c);
    default: return run_sort(c);
  }
}

}  // namespace moesim
