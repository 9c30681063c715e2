// What one operation costs, from the shapes of its operands.
#pragma once

#include <span>

#include "models/cost/cost_model.hpp"
#include "sim/program/program.hpp"
#include "sim/program/visit_table.hpp"

namespace moesim {

// Row counts that depend on the gate, for the rank that is priced; of the piece that the operation works on.
struct RoutedRows {
  std::int64_t gated = 0;
  std::int64_t routed = 0;
  std::int64_t routed_shards = 0;
  std::int64_t arrived = 0;
  std::int64_t arrived_shards = 0;
  VisitRows visits;
  std::span<const std::int64_t> per_expert;  // rows of each local expert
};

// True when a size of the operation depends on the gate, so that its cost differs by micro-batch.
[[nodiscard]] bool depends_on_routing(const Op& op, const Chunk& chunk);

// The piece of a layer's copies that its rows are; of an operation that cuts or joins them: the whole.
[[nodiscard]] RowPiece piece_of(const Op& op, const Chunk& chunk);

// Rows of a tensor for this rank and micro-batch.
[[nodiscard]] std::int64_t rows_of(const Tensor& tensor, const RoutedRows& rows);

// Kernels that a framework with the usual fused kernels (Transformer Engine, Apex, FlashAttention) launches for a compute
// operation. Communication is one kernel, whose start the collective laws hold.
[[nodiscard]] int kernels_of(const Op& op);

// Time of a compute operation on a device of speed 1, fed by a host that launches each kernel; of a later piece of a kernel without
// the launch, of addressing none.
[[nodiscard]] Cost compute_cost(const CostModel& costs, int device, const Op& op, const Chunk& chunk,
                                const PrecisionRecipe& recipe, const RoutedRows& rows);

// Two for each multiply-add of a matrix product; 0 for everything else.
[[nodiscard]] Flops product_flops(const Op& op, const Chunk& chunk, const RoutedRows& rows);

// Bytes of a collective in the convention of models/cost/collective.hpp. Not for dispatch and combine, whose bytes are a
// matrix: token_row_bytes() gives the bytes of one row of theirs.
[[nodiscard]] Bytes collective_bytes(const Op& op, const Chunk& chunk, int group_size, const RoutedRows& rows);
[[nodiscard]] CollectiveKind collective_kind(const Op& op, const Plan& plan);
// The plan's, where it names one for this kind.
[[nodiscard]] inline CollectiveAlgorithm collective_algorithm(CollectiveKind kind, const Plan& plan) {
  return kind == CollectiveKind::kAllReduce ? plan.all_reduce : CollectiveAlgorithm::kAuto;
}
[[nodiscard]] Bytes token_row_bytes(const Op& op, const Chunk& chunk);
// Experts that an operation moves the weights or gradients of, and the bytes of one: each is a broadcast from its owner, or a
// reduction to it, which takes as long.
[[nodiscard]] std::int64_t fetched_experts(const Op& op, const Chunk& chunk);
[[nodiscard]] Bytes fetched_bytes(const Op& op, const Chunk& chunk);

}  // namespace moesim
