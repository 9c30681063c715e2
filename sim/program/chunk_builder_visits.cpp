// Tokens that travel once for every part of the EP group that they visit (visit_table.hpp).
#include "sim/program/chunk_builder.hpp"

namespace moesim {

GatedTokens ChunkBuilder::with_rows(const GatedTokens& x, RowCount rows) {
  const auto same = [&](TensorId id) {
    const Tensor original = tensor(id);
    return make(original.name, TensorRole::kActivation, original.type, rows, original.columns);
  };
  GatedTokens y{same(x.tokens), {}};
  if (x.gate.valid()) y.gate = same(x.gate);
  return y;
}

OperandList ChunkBuilder::operands_of(const GatedTokens& x) {
  return x.gate.valid() ? OperandList{x.tokens, x.gate} : OperandList{x.tokens};
}

GatedTokens ChunkBuilder::spread(std::string_view name, const GatedTokens& x, RowCount rows) {
  const GatedTokens y = with_rows(x, rows);
  record(OpKind::kSpread, name, operands_of(x), operands_of(y));
  return y;
}

TensorId ChunkBuilder::sum_spread(std::string_view name, TensorId y, RowCount rows) {
  const TensorId x = with_rows({y, {}}, rows).tokens;
  record(OpKind::kSumSpread, name, {y}, {x});
  return x;
}

// Each hop by itself: a relay that decompresses FP8 rows and compresses them again has the same rows, for the largest number of a block
// stays 448 times its scale.
GatedTokens ChunkBuilder::dispatch_visits(std::string_view name, const GatedTokens& x, RowCount rows, GroupKind group,
                                          Stream stream) {
  const PackedTokens packed = compress({x.tokens, x.gate}, OpKind::kDispatch, group);
  const RoutedTokens arrived = decompress(travel(name, packed, rows, stream));
  return {arrived.tokens, arrived.weights};
}

TensorId ChunkBuilder::combine_visits(std::string_view name, TensorId y, RowCount rows, GroupKind group,
                                      Stream stream) {
  return decompress(travel(name, compress({y, {}}, OpKind::kCombine, group), rows, stream)).tokens;
}

RoutedTokens ChunkBuilder::permute_visiting(std::string_view name, const GatedTokens& x, std::int64_t copies) {
  const Tensor input = tensor(x.tokens);
  const RowCount rows{copies, RowSource::kArrivedShards};
  const RoutedTokens y{make(name, TensorRole::kActivation, input.type, rows, input.columns),
                       make("gate.row_weight", TensorRole::kActivation, DType::kFp32, rows, 1)};
  record(OpKind::kPermute, name, {x.tokens, x.gate}, {y.tokens, y.weights});
  return y;
}

TensorId ChunkBuilder::unpermute_visiting(std::string_view name, TensorId y, const GatedTokens& x) {
  const Tensor input = tensor(y);
  const TensorId sums = make(name, TensorRole::kActivation, recipe_.activation, tensor(x.tokens).rows, input.columns);
  record(OpKind::kUnpermute, name, {y, x.gate}, {sums});
  return sums;
}

}  // namespace moesim
