#include "sim/program/forward_results.hpp"

#include <algorithm>

namespace moesim {
namespace {

// Whether the operation's result is cheap enough that selective recomputation makes it again.
bool is_cheap(OpKind kind) {
  switch (kind) {
    case OpKind::kNorm:
    case OpKind::kActivation:
    case OpKind::kCast:
    case OpKind::kAttention:
    case OpKind::kPermute:
    case OpKind::kSortByExpert:
    case OpKind::kCompress:
    case OpKind::kDecompress:
    case OpKind::kRotary: return true;
    default: return false;
  }
}

}  // namespace

ForwardResults::ForwardResults(const ChunkBuilder& builder, const Chunk& chunk, TensorId input)
    : builder_(builder), chunk_(chunk) {
  producer_.assign(chunk.tensors.size(), nullptr);
  for (const ChunkBuilder::Entry& entry : builder.tape())
    if (entry.forward)
      for (const TensorId out : entry.op.outputs) producer_[out.index()] = &entry.op;
  for (std::size_t id = 0; id < chunk.tensors.size(); ++id)
    available_.push_back(is_kept_by_policy(TensorId(static_cast<std::int32_t>(id))));
  if (input.valid()) available_[input.index()] = true;
  follow_patterns();
  if (builder.plan().recompute != Recompute::kFull) return;
  for (const TensorId id : builder.layer_inputs()) available_[id.index()] = true;
  for (const ChunkBuilder::Entry& entry : builder.tape())  // and what the head reads of the last layer
    if (!entry.op.layer.valid())
      for (const TensorId id : entry.op.inputs) available_[id.index()] = true;
}

bool ForwardResults::is_kept_by_policy(TensorId id) const {
  if (chunk_.tensors[id.index()].role == TensorRole::kWeight) return true;
  if (producer_[id.index()] == nullptr) return true;  // comes from outside
  const Op& op = *producer_[id.index()];
  if (op.kind == OpKind::kAllGather && (op.group == GroupKind::kTp || op.group == GroupKind::kCp)) return false;
  switch (builder_.plan().recompute) {
    case Recompute::kNone: return true;
    case Recompute::kSelective: return !is_cheap(op.kind);
    case Recompute::kFull: return !op.layer.valid();  // embedding and head are not layers
  }
  return true;
}

// What only the pattern of a layer has is not kept. Under full recomputation all of the layer is made again as the pattern says, its
// output too.
void ForwardResults::follow_patterns() {
  for (const ChunkBuilder::Pattern& pattern : builder_.patterns()) {
    for (const ChunkBuilder::Entry& entry : pattern.entries) {
      if (!entry.forward) continue;
      for (const TensorId out : entry.op.outputs) {
        const Op*& producer = producer_[out.index()];
        if (producer != nullptr && builder_.plan().recompute != Recompute::kFull) continue;
        producer = &entry.op;
        available_[out.index()] = false;
      }
    }
    for (const Recut& recut : pattern.recuts)
      if (std::all_of(recut.from.begin(), recut.from.end(), [this](TensorId id) { return available_[id.index()]; }))
        for (const TensorId id : recut.to) recut_of_.emplace(id, &recut);
  }
}

void ForwardResults::ensure(TensorId id, std::vector<Op>& ops) {
  if (id.index() >= available_.size() || available_[id.index()]) return;
  if (const auto recut = recut_of_.find(id); recut != recut_of_.end()) return cut_again(*recut->second, ops);
  const Op& forward = *producer_[id.index()];
  for (const TensorId input : forward.inputs) ensure(input, ops);
  for (const TensorId output : forward.outputs) available_[output.index()] = true;
  Op again = forward;
  again.phase = Phase::kRecompute;
  ops.push_back(again);
}

void ForwardResults::has_exchanged(LayerId layer, const std::vector<Op>& ops) {
  if (exchanged_ == layer) return;
  exchanged_ = layer;
  behind_first_exchange_ = ops.size();
}

// All pieces at once. It waits for no gradient, so it stands behind the layer's first exchange of this pass, where the device has nothing
// to do until that arrives; what it reads is free thereafter.
void ForwardResults::cut_again(const Recut& recut, std::vector<Op>& ops) {
  Op op;
  op.kind = OpKind::kRecut;
  op.phase = Phase::kBackwardInput;
  op.layer = chunk_.tensors[recut.to.front().index()].layer;
  op.name = "moe.recut";
  op.to_source = recut.by_source ? 1 : 0;
  for (const TensorId id : recut.from) op.inputs.push_back(id);
  for (const TensorId id : recut.to) {
    op.outputs.push_back(id);
    available_[id.index()] = true;
  }
  if (exchanged_ == op.layer) {
    ops.insert(ops.begin() + static_cast<std::ptrdiff_t>(behind_first_exchange_++), op);
  } else {
    ops.push_back(op);
  }
}

}  // namespace moesim
