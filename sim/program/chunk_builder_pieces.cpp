// Cutting what travels into pieces, and experts that travel instead.
#include "base/error.hpp"
#include "sim/program/chunk_builder.hpp"

namespace moesim {

std::vector<TensorId> ChunkBuilder::split_columns(std::string_view name, TensorId x, int pieces) {
  const Tensor input = tensor(x);
  MOESIM_ASSERT(pieces <= kMostPieces && input.columns % pieces == 0);
  std::vector<TensorId> parts;
  OperandList outputs;
  for (int piece = 0; piece < pieces; ++piece) {
    parts.push_back(make(name, TensorRole::kActivation, input.type, input.rows, input.columns / pieces));
    outputs.push_back(parts.back());
  }
  record(OpKind::kSplitColumns, name, {x}, outputs);
  return parts;
}

TensorId ChunkBuilder::join_columns(std::string_view name, const std::vector<TensorId>& pieces) {
  const Tensor part = tensor(pieces.front());
  const auto count = static_cast<std::int64_t>(pieces.size());
  const TensorId y = make(name, TensorRole::kActivation, part.type, part.rows, part.columns * count);
  OperandList inputs;
  for (const TensorId piece : pieces) inputs.push_back(piece);
  record(OpKind::kJoinColumns, name, inputs, {y});
  return y;
}

TensorId ChunkBuilder::in_order_of_pieces(std::string_view name, TensorId x, CutBy by, int pieces) {
  const Tensor input = tensor(x);
  const TensorId ordered = make(name, TensorRole::kActivation, input.type, input.rows, input.columns);
  Op& sort = record(OpKind::kSortByExpert, name, {x}, {ordered});
  sort.to_source = 1;
  sort.cut = {by, 0, static_cast<std::int16_t>(pieces)};
  return ordered;
}

std::vector<TensorId> ChunkBuilder::split_into(std::string_view name, TensorId x, const std::vector<RowCount>& rows) {
  const Tensor input = tensor(x);
  std::vector<TensorId> parts;
  OperandList outputs;
  for (const RowCount& part : rows) {
    parts.push_back(make(name, TensorRole::kActivation, input.type, part, input.columns));
    outputs.push_back(parts.back());
  }
  record(OpKind::kSplitRows, name, {x}, outputs);
  return parts;
}

namespace {

void append_pieces(std::vector<RowCount>& pieces, std::int64_t rows, CutBy by, int count) {
  for (int piece = 0; piece < count; ++piece)
    pieces.push_back({share_of(rows, piece, count),
                      RowSource::kRouted,
                      {by, static_cast<std::int16_t>(piece), static_cast<std::int16_t>(count)}});
}

}  // namespace

std::vector<TensorId> ChunkBuilder::split_rows(std::string_view name, TensorId x, CutBy by, int pieces) {
  const RowCount all = tensor(x).rows;
  MOESIM_ASSERT(pieces <= kMostMoePieces && all.source == RowSource::kRouted && all.piece.whole());
  std::vector<RowCount> rows;
  append_pieces(rows, all.count, by, pieces);
  return split_into(name, in_order_of_pieces(name, x, by, pieces), rows);
}

// Where all experts are shadowed the order of experts is that of their batches.
std::vector<TensorId> ChunkBuilder::split_rows(std::string_view name, TensorId x, const ShadowCut& cut) {
  const RowCount all = tensor(x).rows;
  MOESIM_ASSERT(cut.distances + cut.batches <= OperandList::kMost && all.source == RowSource::kRouted &&
                all.piece.whole());
  const std::int64_t staying = all.count * cut.shadows / cut.experts;
  std::vector<RowCount> rows;
  append_pieces(rows, all.count - staying, CutBy::kDistance, cut.distances);
  append_pieces(rows, staying, CutBy::kShadow, cut.batches);
  return split_into(name, cut.distances > 0 ? in_order_of_pieces(name, x, CutBy::kDistance, cut.distances) : x, rows);
}

TensorId ChunkBuilder::join_rows(std::string_view name, const std::vector<TensorId>& pieces) {
  RowCount rows{0, tensor(pieces.front()).rows.source};
  OperandList inputs;
  for (const TensorId piece : pieces) {
    rows.count += tensor(piece).rows.count;
    inputs.push_back(piece);
  }
  const Tensor part = tensor(pieces.front());
  const TensorId ordered = make(name, TensorRole::kActivation, part.type, rows, part.columns);
  record(OpKind::kJoinRows, name, inputs, {ordered});
  if (part.rows.piece.by == CutBy::kShadow) return ordered;
  const TensorId y = make(name, TensorRole::kActivation, part.type, rows, part.columns);
  record(OpKind::kSortByExpert, name, {ordered}, {y}).cut = {part.rows.piece.by, 0, part.rows.piece.of};
  return y;
}

ExpertWeights ChunkBuilder::fetch_experts(std::string_view name, const ExpertWeights& owned, TensorId gate,
                                          std::int64_t experts, const RowPiece& batch) {
  const auto copy_of = [&](std::string_view copy_name, TensorId weight) {
    const Tensor original = tensor(weight);
    return make(copy_name, TensorRole::kActivation, original.type, original.rows, original.columns, experts);
  };
  const ExpertWeights copies{copy_of("experts.fetched_up", owned.up), copy_of("experts.fetched_down", owned.down)};
  Op& op = record(OpKind::kFetchExperts, name, {owned.up, owned.down, gate}, {copies.up, copies.down});
  op.group = GroupKind::kEp;
  op.stream = Stream::kEp;
  op.cut = batch;
  return copies;
}

}  // namespace moesim
