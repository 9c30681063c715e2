#include "exec/run/tensor_store.hpp"

#include <set>
#include <utility>

namespace moesim {
namespace {

// Each tensor that an operation touches, once.
std::set<TensorId> touched(const Op& op) {
  std::set<TensorId> ids;
  for (const TensorId id : op.inputs) ids.insert(id);
  for (const TensorId id : op.outputs) ids.insert(id);
  return ids;
}

}  // namespace

TensorStore::TensorStore(const Program& program, const std::vector<ChunkIndex>& index)
    : program_(program), index_(index), uses_(program.blocks.size()) {
  for (const Chunk& chunk : program.chunks) carried_.emplace_back(program, chunk.index);
}

void TensorStore::put(std::int32_t chunk, std::int32_t micro_batch, TensorId tensor, StoredTensor stored) {
  tensors_[key(chunk, micro_batch, tensor)] = std::move(stored);
}

const StoredTensor* TensorStore::find(std::int32_t chunk, std::int32_t micro_batch, TensorId tensor) const {
  const auto found = tensors_.find(key(chunk, micro_batch, tensor));
  return found == tensors_.end() ? nullptr : &found->second;
}

void TensorStore::made(const Call& call, const Op& op) {
  const Chunk& chunk = program_.chunk_of(program_.blocks[static_cast<std::size_t>(call.block)], op);
  for (const TensorId id : op.outputs)
    if (const auto found = tensors_.find(key(chunk.index, micro_batch_of(call, op), id)); found != tensors_.end())
      found->second.made = true;
}

void TensorStore::ended(std::int32_t call_number, const Call& call, const Op& op) {
  const Block& block = program_.block_of(call);
  std::optional<Uses>& uses = uses_[static_cast<std::size_t>(call.block)];
  if (!uses) {
    uses.emplace();
    for (const Op& each : block.ops)
      for (const TensorId id : touched(each)) ++(*uses)[{each.second_half, id.value()}];
  }
  Uses& left = left_.try_emplace(call_number, *uses).first->second;
  const Chunk& chunk = program_.chunk_of(block, op);
  made(call, op);
  for (const TensorId id : touched(op)) {
    const auto entry = left.find({op.second_half, id.value()});
    if (--entry->second > 0) continue;
    left.erase(entry);
    if (!chunk.tensors[id.index()].is_transient()) continue;
    if (carried_[static_cast<std::size_t>(chunk.index)].outlives(id, pass_of_op(block, op))) continue;
    tensors_.erase(key(chunk.index, micro_batch_of(call, op), id));
  }
  if (left.empty()) left_.erase(call_number);
}

void TensorStore::clear() {
  left_.clear();
  tensors_.clear();
}

}  // namespace moesim
