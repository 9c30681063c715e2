#include "sim/memory/block_memory.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <utility>

#include "sim/program/guest_traffic.hpp"

namespace moesim {
int pass_of(BlockKind kind) {
  switch (kind) {
    case BlockKind::kForward:
    case BlockKind::kForwardFirst: return 0;
    case BlockKind::kBackward:
    case BlockKind::kBackwardLast:
    case BlockKind::kBackwardInput: return 1;
    case BlockKind::kBackwardWeight:
    case BlockKind::kBackwardWeightLast: return 2;
    case BlockKind::kPair: return 0;
    case BlockKind::kPrologue:
    case BlockKind::kEpilogue: return -1;
  }
  return -1;
}

int pass_of_op(const Block& block, const Op& op) {
  switch (block.kind) {
    case BlockKind::kPair: return op.second_half != 0 ? 2 : 0;
    case BlockKind::kBackward:
    case BlockKind::kBackwardLast: return 2;
    default: return pass_of(block.kind);
  }
}

std::vector<bool> weights_with_gradient_operations(const Chunk& chunk) {
  std::vector<bool> has(chunk.tensors.size(), false);
  for (const Tensor& tensor : chunk.tensors)
    if (tensor.role == TensorRole::kWeightGradient) has[tensor.gradient_of.index()] = true;
  return has;
}

std::vector<RowPiece> pieces_of(std::span<const Chunk> chunks) {
  std::set<RowPiece> pieces = {RowPiece{}};
  for (const Chunk& chunk : chunks)
    for (const Tensor& tensor : chunk.tensors)
      if (!tensor.rows.piece.whole()) pieces.insert(tensor.rows.piece);
  return {pieces.begin(), pieces.end()};
}

LayerRows largest_rows(const GroupLoads& loads, int moe_layer) {
  LayerRows rows;
  for (int variant = 0; variant < loads.variants(); ++variant)
    for (int i = 0; i < loads.ep(); ++i) {
      rows.arrived_shards = std::max(rows.arrived_shards, loads.arrived_shards(moe_layer, variant, i));
      rows.visits = most_of(rows.visits, loads.visits(moe_layer, variant, i));
      for (int j = 0; j < loads.esp(); ++j) {
        rows.gated = std::max(rows.gated, loads.gated(moe_layer, variant, i, j));
        rows.routed = std::max(rows.routed, loads.routed(moe_layer, variant, i, j));
        if (loads.esp() > 1) rows.arrived = std::max(rows.arrived, loads.arrived(moe_layer, variant, i, j));
      }
    }
  if (loads.esp() == 1) rows.arrived = rows.arrived_shards;
  return rows;
}

LargestRows largest_rows(const Program& program) {
  LargestRows largest;
  const auto layers = static_cast<std::size_t>(program.model.layer_count());
  const ParallelSizes& sizes = program.plan.sizes();
  const std::vector<RowPiece> pieces = pieces_of(program.chunks);
  for (const RowPiece& piece : pieces) largest.of_piece[piece].resize(layers);
  largest.esp = sizes.esp;
  if (program.loads->moe_layers == 0) return largest;
  for (const LoadClass& one : load_classes(*program.layout, *program.loads)) {
    const GroupLoads whole(*program.loads, one.sources, sizes.ep, sizes.esp);
    PieceLoads loads(whole);
    for (const RowPiece& piece : pieces) {
      int moe = 0;
      for (std::size_t layer = 0; layer < layers; ++layer) {
        if (!program.model.layer(LayerId(static_cast<std::int32_t>(layer))).moe) continue;
        const LayerRows rows = largest_rows(loads.of(piece), moe++);
        LayerRows& most = largest.of_piece[piece][layer];
        most.gated = std::max(most.gated, rows.gated);
        most.routed = std::max(most.routed, rows.routed);
        most.arrived = std::max(most.arrived, rows.arrived);
        most.arrived_shards = std::max(most.arrived_shards, rows.arrived_shards);
        most.visits = most_of(most.visits, rows.visits);
      }
    }
  }
  return largest;
}

Bytes largest_bytes(const Tensor& tensor, const LargestRows& rows) {
  std::int64_t count = tensor.rows.count;
  if (tensor.rows.source != RowSource::kFixed) {
    const LayerRows& layer = rows.of_piece.at(tensor.rows.piece)[tensor.layer.index()];
    switch (tensor.rows.source) {
      case RowSource::kFixed: break;
      case RowSource::kGated: count = layer.gated; break;
      case RowSource::kRouted: count = layer.routed; break;
      case RowSource::kRoutedShards: count = layer.routed * rows.esp; break;
      case RowSource::kArrived: count = layer.arrived; break;
      case RowSource::kArrivedShards: count = layer.arrived_shards; break;
      case RowSource::kSpread:
      case RowSource::kRelayed:
      case RowSource::kRelaySpread:
      case RowSource::kVisiting: count = layer.visits.of(tensor.rows.source); break;
    }
  }
  return storage(count * tensor.columns * tensor.groups, tensor.type);
}

CarriedTensors::CarriedTensors(const Program& program, std::int32_t chunk) {
  const Chunk& own = program.chunks[static_cast<std::size_t>(chunk)];
  lives_.resize(own.tensors.size());
  for (const Block& block : program.blocks) {
    const int pass = pass_of(block.kind);
    if (pass < 0 || block.chunk != chunk || block.kind == BlockKind::kPair) continue;
    for (const Op& op : block.ops) {
      for (const TensorId id : op.inputs) {
        Life& life = lives_[id.index()];
        life.last_read = std::max(life.last_read, static_cast<std::int8_t>(pass));
      }
      for (const TensorId id : op.outputs) {
        Life& life = lives_[id.index()];
        if (life.made < 0 || life.made > pass) life.made = static_cast<std::int8_t>(pass);
        life.made_again = std::max(life.made_again, static_cast<std::int8_t>(pass));
      }
    }
  }
  // What nothing here makes was handed over by a chunk on the same stage, and counts from then on as if made here.
  const auto take = [this](TensorId id, std::int8_t pass) {
    if (!id.valid() || lives_[id.index()].made >= 0) return;
    lives_[id.index()].made = pass;
    lives_[id.index()].made_again = pass;
  };
  take(own.input, 0);
  take(own.output_gradient, 1);
  const auto hand_over = [this](TensorId id, bool handed_over) {
    if (id.valid() && handed_over) lives_[id.index()].handed_over = true;
  };
  hand_over(own.output, program.neighbour_on_stage(own, +1) != nullptr);
  hand_over(own.input_gradient, program.neighbour_on_stage(own, -1) != nullptr);
}

bool CarriedTensors::outlives(TensorId id, int pass) const {
  const Life& life = lives_[id.index()];
  if (life.handed_over) return true;  // the receiving chunk releases it
  // What a later pass makes again need not be kept until then.
  return life.last_read > pass && life.made_again <= pass;
}

std::vector<TensorId> CarriedTensors::saved_by_forward() const {
  std::vector<TensorId> saved;
  for (std::size_t i = 0; i < lives_.size(); ++i) {
    const TensorId id(static_cast<std::int32_t>(i));
    if (lives_[i].made == 0 && !lives_[i].handed_over && outlives(id, 0)) saved.push_back(id);
  }
  return saved;
}

BlockMemory block_memory(const Program& program, const Block& block, const std::vector<CarriedTensors>& carried,
                         const LargestRows& rows) {
  BlockMemory memory;
  std::int64_t held = 0;
  // Last reader in this block by (half, tensor).
  std::map<std::pair<int, std::int32_t>, std::size_t> last_use;
  for (std::size_t i = 0; i < block.ops.size(); ++i) {
    const Op& op = block.ops[i];
    for (const TensorId id : op.inputs) last_use[{op.second_half, id.value()}] = i;
    for (const TensorId id : op.outputs) last_use.try_emplace({op.second_half, id.value()}, i);
  }
  // ZeRO 2 and 3: gradients until their bucket goes, and then until something waits for its reduction.
  // By half and weight; rows in pieces add to a gradient several times.
  std::map<std::pair<int, TensorId>, std::int64_t> unreduced;
  struct Reduction {
    std::size_t op = 0;
    std::int64_t bytes = 0;
  };
  std::vector<Reduction> reductions;
  std::array<std::array<std::vector<std::int64_t>, kGroupKinds>, 2> gathered;  // by half; each has layers of its own
  const auto hold = [&](std::int64_t bytes) {
    held += bytes;
    memory.peak = std::max(memory.peak, held);
    if (!memory.waits_for_reductions) memory.peak_in_front = std::max(memory.peak_in_front, held);
  };
  const auto reduced = [&](std::size_t last) {  // all that were issued up to there: a stream runs in order
    std::erase_if(reductions, [&](const Reduction& reduction) {
      if (reduction.op <= last) held -= reduction.bytes;
      return reduction.op <= last;
    });
  };
  for (std::size_t i = 0; i < block.ops.size(); ++i) {
    const Op& op = block.ops[i];
    const Chunk& chunk = program.chunk_of(block, op);
    const CarriedTensors& lives = carried[static_cast<std::size_t>(chunk.index)];
    const int pass = pass_of_op(block, op);
    if (op.stream == Stream::kCompute && (op.wait_streams & stream_bit(Stream::kDp)) != 0) {
      reduced(i);
      memory.waits_for_reductions = true;
    }
    if (op.stream == Stream::kCompute && op.after >= 0 &&
        block.ops[static_cast<std::size_t>(op.after)].stream == Stream::kDp)
      reduced(static_cast<std::size_t>(op.after));
    for (const TensorId id : op.outputs) {
      const Tensor& tensor = chunk.tensors[id.index()];
      if (tensor.is_transient()) hold(largest_bytes(tensor, rows).count());
      if (tensor.role == TensorRole::kWeightGradient &&
          program.plan.zero_of(tensor.replicas) >= ZeroStage::kGradients &&
          program.layout->group_size(tensor.replicas) > 1 &&
          unreduced.try_emplace({op.second_half, tensor.gradient_of}, tensor.bytes().count()).second)
        hold(tensor.bytes().count());
    }
    const auto group = static_cast<std::size_t>(op.group);
    if (op.kind == OpKind::kReduceGrads && op.bucket >= 0 && !moves_guests(op)) {
      Reduction& reduction = reductions.emplace_back(Reduction{i, 0});
      for (const TensorId weight : program.buckets[static_cast<std::size_t>(op.bucket)].weights)
        if (const auto gradient = unreduced.extract({op.second_half, weight})) reduction.bytes += gradient.mapped();
    }
    if (op.kind == OpKind::kGatherParams && !moves_guests(op) &&
        program.plan.zero_of(op.group) == ZeroStage::kParameters) {
      std::vector<std::int64_t>& layers = gathered[op.second_half != 0 ? 1 : 0][group];
      if (layers.size() >= kGatheredLayers) held -= layers[layers.size() - kGatheredLayers];
      layers.push_back(storage(op.payload_elements, op.payload_type).count());
      hold(layers.back());
    }
    const auto release = [&](TensorId id) {
      const auto use = last_use.find({op.second_half, id.value()});
      if (use == last_use.end() || use->second != i) return;
      last_use.erase(use);
      const Tensor& tensor = chunk.tensors[id.index()];
      if (tensor.is_transient() && !lives.outlives(id, pass)) held -= largest_bytes(tensor, rows).count();
    };
    for (const TensorId id : op.inputs) release(id);
    for (const TensorId id : op.outputs) release(id);
  }
  for (const auto& [gradient, bytes] : unreduced) held -= bytes;
  for (const Reduction& reduction : reductions) memory.in_reduction += reduction.bytes;
  held -= memory.in_reduction;
  for (const auto& half : gathered)
    for (const auto& layers : half)
      for (std::size_t i = layers.size() - std::min(layers.size(), kGatheredLayers); i < layers.size(); ++i)
        held -= layers[i];
  memory.change = held;
  return memory;
}

}  // namespace moesim
