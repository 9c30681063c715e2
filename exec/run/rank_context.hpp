// What a rank has in its hands while it runs a step, and an operation's view of it.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "exec/comm/communicator.hpp"
#include "exec/run/gathered_weights.hpp"
#include "exec/run/parameters.hpp"
#include "exec/run/placed_rows.hpp"
#include "exec/run/routing_state.hpp"
#include "exec/run/run_settings.hpp"
#include "exec/run/tensor_store.hpp"
#include "sim/plan/layer_slots.hpp"

namespace moesim {

// How often the gate of a layer chose each expert for the tokens that this rank routes, before a capacity drops any.
struct GateChoice {
  LayerId layer;
  std::int32_t micro_batch = 0;
  std::vector<std::int32_t> counts;
};

// Which source of token copies a rank is, as load_classes() counts: its pipeline's place among the ranks of stage 0.
[[nodiscard]] int routing_source(const Layout& layout, RankId rank);

struct RankContext {
  RankContext(const Program& program_of_run, const RunSettings& run_settings, SequenceSource sequences,
              ComputeBackend& device, Communicator& communicator);
  [[nodiscard]] Status prepare();                        // groups, weights, streams
  [[nodiscard]] Status place_slots(ExpertSlots next);    // what routing maps read; weights stay where they are
  [[nodiscard]] Status begin_step(std::int64_t number);  // sets gradients and loss to zero

  [[nodiscard]] const CommGroup& group(GroupKind kind) const { return *groups[static_cast<std::size_t>(kind)]; }
  [[nodiscard]] const PlacedRows& rows(std::int32_t micro_batch);
  // Sees to it that kernels can read the rows of a micro-batch; before its operations are given to an asynchronous backend.
  [[nodiscard]] Status place_rows(std::int32_t micro_batch);
  [[nodiscard]] RoutingState& routing_of(LayerId layer, std::int32_t micro_batch);
  [[nodiscard]] const Call& call(std::int32_t number) const {
    return program.stages[stage.index()].calls[static_cast<std::size_t>(number)];
  }
  // Where the experts of a MoE layer stand now.
  [[nodiscard]] LayerSlots layer_slots(LayerId layer) const {
    return LayerSlots(slots, moe_layer_of[layer.index()], program.model.layer(layer).moe->experts,
                      program.plan.sizes().ep);
  }
  // Forgets what a finished micro-batch of a chunk needed beside its tensors.
  void release(const Chunk& chunk, std::int32_t micro_batch);

  const Program& program;
  RunSettings settings;
  SequenceSource source;
  ComputeBackend& backend;
  Communicator& comm;
  RankId rank;
  StageId stage;
  Layout::Coordinates at;
  // What is given to the device goes to `stream`: to `compute`, or while a message is put together or taken apart to `exchange`.
  // Of a backend that is not asynchronous, all are the same.
  DeviceStream stream, compute, exchange;
  // As large as the memory walk says; what is in it by purpose: weights, gradients and the optimizer's state; tensors of the
  // program; and what the program does not name (messages being put together, maps of the routing).
  std::unique_ptr<MemoryPool> pool;
  DeviceMemory states, tensors, staging;
  std::vector<ChunkIndex> chunks;
  Parameters parameters;
  GatheredWeights gathered;
  TensorStore store;
  std::array<std::optional<CommGroup>, kGroupKinds> groups;
  std::vector<int> moe_layer_of;          // by layer: its number among the MoE layers
  int load_source = 0;                    // of this rank in RoutedLoads
  ExpertSlots slots;                      // where experts stand now; at first where the plan says
  std::vector<BufferPtr> slot_of_expert;  // [moe layer], INT32; empty: in order, or there are spare slots

  // Of the running step.
  std::int64_t step = 0;  // from 0
  std::map<std::int32_t, PlacedRows> batch;
  std::map<std::pair<LayerId, std::int32_t>, RoutingState> routing;
  BufferPtr loss_sum;  // one FP64: over the tokens whose loss this rank worked out
  std::optional<double> gradient_norm;
  std::vector<GateChoice> choices;  // in the order in which they were made
};

// What is given to the device goes beside the computation for as long as this stands.
class ExchangeScope {
 public:
  explicit ExchangeScope(RankContext& rank) : rank_(rank) { rank_.stream = rank_.exchange; }
  ExchangeScope(const ExchangeScope&) = delete;
  ExchangeScope& operator=(const ExchangeScope&) = delete;
  ~ExchangeScope() { rank_.stream = rank_.compute; }

 private:
  RankContext& rank_;
};

// An operation of a call on this rank.
class OpContext {
 public:
  // `call`: its number in the stage.
  OpContext(RankContext& rank, std::int32_t call, const Op& op)
      : rank_(rank), op_(op), chunk_(chunk_of(rank, call, op)), call_(call) {
    micro_batch_ = micro_batch_of(rank.call(call), op);
  }

  [[nodiscard]] RankContext& rank() const { return rank_; }
  [[nodiscard]] const Op& op() const { return op_; }
  [[nodiscard]] const Chunk& chunk() const { return chunk_; }
  [[nodiscard]] const ChunkIndex& index() const { return rank_.chunks[static_cast<std::size_t>(chunk_.index)]; }
  [[nodiscard]] std::int32_t micro_batch() const { return micro_batch_; }
  [[nodiscard]] std::int32_t call() const { return call_; }
  [[nodiscard]] const LayerShape& layer() const { return rank_.program.model.layer(op_.layer); }
  [[nodiscard]] RoutingState& routing() const { return rank_.routing_of(op_.layer, micro_batch_); }
  [[nodiscard]] const PlacedRows& rows() const { return rank_.rows(micro_batch_); }
  [[nodiscard]] const Tensor& tensor(TensorId id) const { return chunk_.tensors[id.index()]; }

  // Whether all operands are there: the engine's rules should have seen to it.
  [[nodiscard]] Status check_inputs() const;
  // Whether nothing reads any more what an earlier pass made under the names of the outputs: communication that is repeated in
  // the backward pass could otherwise overtake the forward pass.
  [[nodiscard]] bool outputs_are_free() const;
  // An operand: an activation of the store, or a weight.
  [[nodiscard]] MatrixView in(int i) const;
  [[nodiscard]] BufferPtr in_buffer(int i) const;
  // Memory for a result, with as many rows as the gate says.
  [[nodiscard]] Result<StoredTensor> out(int i) const;
  [[nodiscard]] MatrixView weight(TensorId id) const;
  // The gradient that a weight-gradient operation adds to, and that of a given weight.
  // For kernels that can set as well as add.
  struct GradientTarget {
    MatrixView view;
    GradientSum sum = GradientSum::kAdd;
  };
  [[nodiscard]] Result<GradientTarget> weight_gradient(int output) const;
  // For those that only add.
  [[nodiscard]] Result<MatrixView> gradient_of(TensorId weight) const;

 private:
  [[nodiscard]] static const Chunk& chunk_of(const RankContext& rank, std::int32_t call, const Op& op) {
    return rank.program.chunk_of(rank.program.block_of(rank.call(call)), op);
  }
  [[nodiscard]] std::int64_t row_count(const RowCount& rows) const;

  RankContext& rank_;
  const Op& op_;
  const Chunk& chunk_;
  std::int32_t call_;
  std::int32_t micro_batch_;
};

}  // namespace moesim
