// Operands of a program. A tensor is a matrix of `rows` by `columns` (expert weights: `groups` such matrices); its size in
// bytes, the work of the operations that use it and its lifetime all follow from that.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/ids.hpp"
#include "models/precision.hpp"
#include "sim/plan/layout.hpp"
#include "sim/program/row_piece.hpp"

namespace moesim {

using TensorId = Id<struct TensorTag>;  // index into Chunk::tensors

// Where a row count comes from. Rows that depend on the gate are known only with the expert loads of a layer and a
// micro-batch (RoutedLoads); `RowCount::count` then holds their balanced expectation.
enum class RowSource : std::uint8_t {
  kFixed,
  kGated,          // token copies that this rank's gate makes: tokens * top_k, less what the capacity drops
  kRouted,         // token copies it sends to experts: those, or its share where the TP ranks gate the same tokens
  kRoutedShards,   // the same once for each shard of its expert: for one rank of the EP x ESP group after the other
  kArrived,        // token copies that reach this rank over its EP group
  kArrivedShards,  // and after the ESP group has shared them: what the local expert shards compute
  // Tokens that travel once for every part of the EP group that they visit (visits.hpp):
  kSpread,       // this rank's own, once for each node, or for each rank where there is one hop
  kRelayed,      // those of others that reach it to be handed on
  kRelaySpread,  // the same once for each rank of its node that they visit
  kVisiting,     // tokens with a copy for an expert of this rank, each once
};

struct RowCount {
  std::int64_t count = 0;
  RowSource source = RowSource::kFixed;
  RowPiece piece = {};  // of copies on their way between the gate and its sum: which of them
  bool operator==(const RowCount&) const = default;
};

// Of the matrices of local experts (sim/plan/layer_slots.hpp).
struct GuestMatrices {
  std::int64_t without_state = 0;  // the last so many, which no rank of the EP group keeps an optimizer's state for
  bool room = false;               // whether ranks have slots for guests
  bool operator==(const GuestMatrices&) const = default;
};

enum class TensorRole : std::uint8_t { kWeight, kWeightGradient, kActivation, kActivationGradient, kGatheredWeights };

struct Tensor {
  std::string_view name;  // "attention.q"; static text
  TensorRole role = TensorRole::kActivation;
  DType type = DType::kBf16;
  RowCount rows;
  std::int64_t columns = 0;
  std::int64_t groups = 1;                // matrices of rows x columns: the local experts of an expert weight
  LayerId layer;                          // model layer; invalid for embedding and head
  GroupKind replicas = GroupKind::kDpCp;  // weights: the ranks that hold the same shard (kDpCp or kEdp)
  int tp_copies =
      1;  // weights: TP ranks, one behind the other, that hold the same part; TP: all of it is on every rank
  bool sums_over_tp =
      false;  // and each copy sees a part of the gradient only: their sum is formed at the end of the step
  bool same_on_esp = false;   // expert weights: every ESP rank holds all of it (the bias of a down-projection)
  bool fp8_operand = false;   // weights: an FP8 GEMM reads it, so that recipes which keep FP8 copies keep one of this
  TensorId gradient_of = {};  // weight gradients: the weight
  GuestMatrices guests = {};  // expert weights: what of the groups is lent by other ranks
  bool tied = false;          // weights: the embedding table once more, without storage of its own
  bool transposed = false;    // weights: stored as [out, in], as the embedding table that a tied head multiplies by
  [[nodiscard]] std::int64_t elements() const { return rows.count * columns * groups; }  // balanced
  // Of those the optimizer's state is kept, ZeRO cuts and replicas reduce: the first ones.
  [[nodiscard]] std::int64_t owned_elements() const { return rows.count * columns * (groups - guests.without_state); }
  [[nodiscard]] Bytes bytes() const { return storage(elements(), type); }  // balanced
  // Made and released within a step, in contrast to weights and what belongs to them.
  [[nodiscard]] bool is_transient() const {
    return role == TensorRole::kActivation || role == TensorRole::kActivationGradient;
  }
  [[nodiscard]] bool is_expert_weight() const { return role == TensorRole::kWeight && replicas == GroupKind::kEdp; }
};

}  // namespace moesim
