// The weights that a rank holds, with their gradients and the optimizer's state.
//
// With ZeRO from stage 1 on, the ranks that hold the same weight each own an even part of its elements (row-major order):
//   stage 1   of its optimizer state
//   stage 2   and of its gradient: a whole one is there from the first operation that adds to it until its bucket goes
//   stage 3   and of its value: a whole one is there while a pass needs it (GatheredWeights)
// Buffers are those that the memory walk counts. Example: 10 elements on 4 ranks: 3 3 3 1, each in a buffer of 3. Guests of experts
// (sim/plan/layer_slots.hpp) have weights and gradients behind the owned elements, and nothing else.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "exec/run/chunk_index.hpp"
#include "exec/run/device_memory.hpp"
#include "exec/run/weight_shards.hpp"
#include "sim/plan/owned_range.hpp"

namespace moesim {

// So many numbers of a buffer, as one row.
[[nodiscard]] MatrixView part_of(const BufferPtr& buffer, DType type, ElementRange range);

struct Parameter {
  const Chunk* chunk = nullptr;
  TensorId weight;
  std::vector<ShardPiece> pieces;
  ZeroStage cut = ZeroStage::kNone;  // what its replicas keep parts of; kNone also where there are none
  bool gradient_operation = true;    // of its own; the gradients of vectors (norms) add up beside other operations
  ElementRange own;                  // what this rank updates; everything without ZeRO
  bool counted = true;               // whether this rank adds its part to the norm of all gradients
  BufferPtr value;                   // the weight, in its type; with ZeRO 3 the own part
  BufferPtr gradient;       // FP32, whole, of this rank's micro-batches; nullptr where ZeRO 2 and 3 have none just now
  bool fresh = false;       // whether nothing has been written to `gradient` yet in this step or pass
  BufferPtr reduced;        // FP32, own part, summed over the replicas; with ZeRO 2 and 3
  BufferPtr master;         // FP32, own part; only where the weight is narrower
  BufferPtr first, second;  // moments of the own part

  [[nodiscard]] const Tensor& tensor() const { return chunk->tensors[weight.index()]; }
  [[nodiscard]] std::int64_t elements() const { return tensor().elements(); }
  [[nodiscard]] std::int64_t owned_elements() const { return tensor().owned_elements(); }  // of all its replicas
  // Of a model whose head is its embedding table, one of the two.
  [[nodiscard]] bool is_table() const { return tensor().name == kEmbeddingTable || tensor().transposed; }
  // Whether a whole gradient is there only for a while.
  [[nodiscard]] bool passing_gradient() const { return cut >= ZeroStage::kGradients && gradient_operation; }
  [[nodiscard]] MatrixView view_of(const BufferPtr& whole, DType type) const;  // experts one below the other
  // One row of numbers: the own part of the value, of the final gradient, of the master weight.
  [[nodiscard]] MatrixView own_value() const;
  [[nodiscard]] MatrixView own_gradient() const;
  [[nodiscard]] MatrixView own_master() const;
  [[nodiscard]] std::int64_t element_bytes() const;
};

class Parameters {
 public:
  // Everything of the rank's stage, with initial values. They stay in `states`; `staging` is for the time of the call.
  [[nodiscard]] static Result<Parameters> make(const Program& program, const std::vector<ChunkIndex>& index,
                                               RankId rank, std::uint64_t seed, ComputeBackend& backend,
                                               DeviceMemory& states, DeviceMemory& staging);
  [[nodiscard]] Parameter& of(std::int32_t chunk, TensorId weight);
  // In the order of the model's layers, so that the two copies of DualPipe agree.
  [[nodiscard]] std::vector<Parameter>& all() { return list_; }
  [[nodiscard]] const std::vector<Parameter>& all() const { return list_; }

 private:
  std::vector<Parameter> list_;
  std::map<std::pair<std::int32_t, TensorId>, std::size_t> place_;
};

}  // namespace moesim
