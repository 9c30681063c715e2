// A layer that is described twice: which tensors of the two descriptions are the same thing.
//
// Two tensors are where operations of the same name read them in the same place: what the up-projection reads is the copies in the
// order of their experts, in however many pieces. So the adjoint of the pattern finds what the forward pass has kept:
//   alike in both       one tensor, that of the first description: what the gate made, copies that are whole in both
//   rows in two cuts    the pattern's pieces are made from the first's (Recut)
//   neither             made again by the pattern's operations. Only what puts rows in order is: products, activations and exchanges have
//                       the same names in every description
// Under full recomputation nothing inside the layer is kept, and all of it is made again as the pattern says.
//
// Example: forward in two pieces, backward in four. The inputs of the experts X0, X1 become X0' ... X3' by one pass over them; the
// gate's choice is read as it is.
#include <algorithm>
#include <compare>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <utility>

#include "base/error.hpp"
#include "sim/program/chunk_builder.hpp"

namespace moesim {
namespace {

using Entry = ChunkBuilder::Entry;

// An operation by what it does, and which of its operands. Where several have one name they are told apart: steps of exchanges out and
// back, casts by what they are for, and cuts, for rows in the order of some pieces are not those in the order of others.
struct Reader {
  OpKind kind = OpKind::kAdd;
  bool to_source = false;
  std::string_view name, cast_for;
  OpKind exchange = OpKind::kDispatch;
  RowPiece cut;
  int operand = 0;
  auto operator<=>(const Reader&) const = default;
};

// What each reader reads, every tensor once.
std::map<Reader, std::vector<TensorId>> readers_of(std::span<const Entry> entries, const std::vector<Tensor>& tensors) {
  std::map<Reader, std::vector<TensorId>> readers;
  for (const Entry& entry : entries) {
    const Op& op = entry.op;
    if (op.kind == OpKind::kJoinRows || op.kind == OpKind::kJoinColumns) continue;  // places are pieces
    const std::string_view cast_for = op.kind == OpKind::kCast ? tensors[op.outputs[0].index()].name : "";
    for (int i = 0; i < op.inputs.size(); ++i) {
      std::vector<TensorId>& read = readers[{op.kind, op.to_source != 0, op.name, cast_for, entry.exchange, op.cut, i}];
      if (std::find(read.begin(), read.end(), op.inputs[i]) == read.end()) read.push_back(op.inputs[i]);
    }
  }
  return readers;
}

bool are_alike(const Tensor& a, const Tensor& b) {
  return a.rows == b.rows && a.columns == b.columns && a.groups == b.groups && a.type == b.type;
}

// Whether the tensors are arrived copies, whole or in all pieces of one cut; puts these into their order.
bool are_cut(std::vector<TensorId>& ids, const std::vector<Tensor>& tensors) {
  const auto rows = [&](TensorId id) -> const RowCount& { return tensors[id.index()].rows; };
  std::sort(ids.begin(), ids.end(), [&](TensorId a, TensorId b) { return rows(a).piece.index < rows(b).piece.index; });
  const RowCount& first = rows(ids.front());
  if (first.source != RowSource::kArrived && first.source != RowSource::kArrivedShards) return false;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const RowCount& piece = rows(ids[i]);
    const RowPiece expected{first.piece.by, static_cast<std::int16_t>(i), static_cast<std::int16_t>(ids.size())};
    if (piece.source != first.source || piece.piece != expected) return false;
  }
  return true;
}

// In which order a reader has arrived copies; nullopt: it may not read such, or none that an adjoint asks for.
std::optional<bool> reads_by_source(const Reader& reader) {
  switch (reader.kind) {
    case OpKind::kGroupedGemm:
    case OpKind::kActivation:
    case OpKind::kCast: return false;
    case OpKind::kSortByExpert: return reader.to_source || !reader.cut.whole() ? std::nullopt : std::optional(true);
    case OpKind::kDecompress: return true;
    default: return std::nullopt;
  }
}

// What a pattern's tensors are in the first description.
struct Matches {
  std::map<TensorId, TensorId> same;
  std::vector<Recut> recuts;
};

void match(std::span<const Entry> first, std::span<const Entry> pattern, const std::vector<Tensor>& tensors,
           Matches& matches) {
  auto readers = readers_of(first, tensors);
  std::set<TensorId> taken;  // one of the first description is one of the pattern
  auto readers_of_pattern = readers_of(pattern, tensors);
  for (auto& [reader, ids] : readers_of_pattern) {
    const auto found = readers.find(reader);
    if (found == readers.end()) continue;
    std::vector<TensorId>& of_first = found->second;
    const bool alike =
        std::equal(ids.begin(), ids.end(), of_first.begin(), of_first.end(),
                   [&](TensorId a, TensorId b) { return are_alike(tensors[a.index()], tensors[b.index()]); });
    if (alike) {
      for (std::size_t i = 0; i < ids.size(); ++i)
        if (!matches.same.contains(ids[i]) && taken.insert(of_first[i]).second)
          matches.same.emplace(ids[i], of_first[i]);
      continue;
    }
    const std::optional<bool> by_source = reads_by_source(reader);
    if (!by_source || !are_cut(ids, tensors) || !are_cut(of_first, tensors)) continue;
    const Tensor& a = tensors[of_first.front().index()];
    const Tensor& b = tensors[ids.front().index()];
    if (a.rows.source == b.rows.source && a.columns == b.columns && a.type == b.type)
      matches.recuts.push_back({of_first, ids, *by_source});
  }
}

void replace(OperandList& list, const std::map<TensorId, TensorId>& by) {
  OperandList replaced;
  for (const TensorId id : list) {
    const auto known = by.find(id);
    replaced.push_back(known == by.end() ? id : known->second);
  }
  list = replaced;
}

}  // namespace

void ChunkBuilder::begin_pattern(const Place& first) {
  MOESIM_ASSERT(!pattern_);
  weights_of_first_.clear();
  for (std::size_t id = first.tensors; id < chunk_.tensors.size(); ++id)
    if (chunk_.tensors[id].role == TensorRole::kWeight) weights_of_first_.emplace_back(static_cast<std::int32_t>(id));
  pattern_ = {first, place()};
  cast_source_ = first.cast_source;
  cast_result_ = first.cast_result;
}

TensorId ChunkBuilder::weight_of_first(std::string_view name) {
  const auto found = std::find_if(weights_of_first_.begin(), weights_of_first_.end(),
                                  [&](TensorId id) { return tensor(id).name == name; });
  MOESIM_ASSERT(found != weights_of_first_.end());
  const TensorId id = *found;
  weights_of_first_.erase(found);
  return id;
}

void ChunkBuilder::end_pattern(TensorId output, TensorId pattern_output) {
  MOESIM_ASSERT(pattern_ && weights_of_first_.empty());
  const auto [first, own] = *pattern_;
  pattern_.reset();
  cast_source_ = own.cast_source;
  cast_result_ = own.cast_result;
  const auto begin = tape_.begin() + static_cast<std::ptrdiff_t>(own.entries);
  Pattern pattern{first.entries, own.entries, {begin, tape_.end()}, {}};
  tape_.erase(begin, tape_.end());
  Matches matches;
  matches.same.emplace(pattern_output, output);
  if (plan_.recompute != Recompute::kFull)
    match(std::span(tape_).subspan(first.entries), pattern.entries, chunk_.tensors, matches);
  pattern.recuts = std::move(matches.recuts);
  for (Entry& entry : pattern.entries) {
    replace(entry.op.inputs, matches.same);
    replace(entry.op.outputs, matches.same);
  }
  patterns_.push_back(std::move(pattern));
}

}  // namespace moesim
