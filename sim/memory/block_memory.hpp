// Memory of one pass over a block, apart from what other calls hold.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "sim/program/group_loads.hpp"
#include "sim/program/program.hpp"

namespace moesim {

// Rows of a MoE layer that depend on the gate, each at its largest over ranks and micro-batches.
struct LayerRows {
  std::int64_t gated = 0;
  std::int64_t routed = 0;
  std::int64_t arrived = 0;
  std::int64_t arrived_shards = 0;
  VisitRows visits;
};
// The layer with number `moe_layer` among the MoE layers, in one group of ranks.
[[nodiscard]] LayerRows largest_rows(const GroupLoads& loads, int moe_layer);

// By piece and model layer; zero rows for dense layers.
struct LargestRows {
  std::map<RowPiece, std::vector<LayerRows>> of_piece;
  int esp = 1;
};
[[nodiscard]] LargestRows largest_rows(const Program& program);
// The pieces that the tensors of these chunks are cut into, the whole among them.
[[nodiscard]] std::vector<RowPiece> pieces_of(std::span<const Chunk> chunks);
[[nodiscard]] Bytes largest_bytes(const Tensor& tensor, const LargestRows& rows);

// Gathered parameters of ZeRO 3 at a time: the layer that runs and the one fetched ahead.
constexpr std::size_t kGatheredLayers = 2;

// By tensor: whether a gradient operation makes the gradient of this weight. Other weights (norms, biases) are vectors whose
// gradients add up beside another operation.
[[nodiscard]] std::vector<bool> weights_with_gradient_operations(const Chunk& chunk);

// All bytes are above what other passes had saved when the block began. Gradients of ZeRO 2 and 3 whose reduction may not have
// ended when the block does are apart: the first pass that waits for them (sim/lower/grad_sync.hpp) frees them.
struct BlockMemory {
  std::int64_t change = 0;         // held after the block: what it saved for later less what it released
  std::int64_t peak = 0;           // highest during the block
  std::int64_t peak_in_front = 0;  // highest before it waits for the reductions of earlier passes
  std::int64_t in_reduction = 0;   // gradients of its own that are being reduced when it ends
  bool waits_for_reductions = false;
};

// Which tensors of a chunk pass from one of its blocks to a later one of the same micro-batch, or to the next chunk.
class CarriedTensors {
 public:
  CarriedTensors(const Program& program, std::int32_t chunk);
  // Whether the tensor, made in a forward (0), input-gradient (1) or weight-gradient (2) block, is read in a later one.
  [[nodiscard]] bool outlives(TensorId id, int pass) const;
  [[nodiscard]] std::vector<TensorId> saved_by_forward() const;

 private:
  struct Life {
    std::int8_t made = -1;        // first pass that makes it
    std::int8_t made_again = -1;  // last pass that makes it (recomputation)
    std::int8_t last_read = -1;
    bool handed_over = false;  // to the neighbouring chunk on the same stage
  };
  std::vector<Life> lives_;
};

[[nodiscard]] BlockMemory block_memory(const Program& program, const Block& block,
                                       const std::vector<CarriedTensors>& carried, const LargestRows& rows);

// 0 forward, 1 input gradient, 2 weight gradient; -1 for prologue and epilogue.
[[nodiscard]] int pass_of(BlockKind kind);
// The pass after whose last reader nothing of the micro-batch is kept for: a whole backward pass ends with the weight
// gradients, also where the schedule splits other backward passes of the same chunk.
[[nodiscard]] int pass_of_op(const Block& block, const Op& op);

}  // namespace moesim
