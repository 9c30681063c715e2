#include "exec/run/chunk_index.hpp"

namespace moesim {

ChunkIndex::ChunkIndex(const Program& program, const Chunk& chunk) : chunk_(chunk.index) {
  readers_.resize(chunk.tensors.size());
  for (const Block& block : program.blocks) {
    if (block.kind != BlockKind::kForward || block.chunk != chunk.index) continue;
    for (const Op& op : block.ops) {
      for (const TensorId id : op.inputs)
        if (chunk.tensors[id.index()].role == TensorRole::kWeight) readers_[id.index()] = op.name;
      if (op.kind == OpKind::kRotary && op.inputs.size() > 1) rotary_norms_[{op.layer, op.name}] = op.inputs[1];
      if (op.kind == OpKind::kCrossEntropy) loss_statistics_ = op.outputs[0];
    }
  }
  if (const Chunk* before = program.neighbour_on_stage(chunk, -1); before != nullptr && chunk.input.valid()) {
    input_ = chunk.input;
    input_place_ = {before->index, before->output};
  }
  if (const Chunk* after = program.neighbour_on_stage(chunk, +1); after != nullptr && chunk.output_gradient.valid()) {
    output_gradient_ = chunk.output_gradient;
    output_gradient_place_ = {after->index, after->input_gradient};
  }
}

TensorId ChunkIndex::rotary_norms(LayerId layer, std::string_view name) const {
  const auto found = rotary_norms_.find({layer, name});
  return found == rotary_norms_.end() ? TensorId() : found->second;
}

ChunkIndex::Place ChunkIndex::place(TensorId tensor) const {
  if (tensor == input_) return input_place_;
  if (tensor == output_gradient_) return output_gradient_place_;
  return {chunk_, tensor};
}

}  // namespace moesim
