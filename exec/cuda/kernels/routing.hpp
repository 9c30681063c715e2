// Places of token copies in the order of experts (routing_args.hpp): a counting sort that keeps the order of tokens.
#pragma once

#include "exec/cuda/kernels/operand.hpp"

namespace moesim::gpu {

struct RoutingPlan {
  Operand probabilities;  // of k choices; ids in columns [k, 2 k)
  std::int64_t tokens = 0;
  std::int64_t top_k = 1;
  std::int64_t experts = 0;  // that have rows: from first_expert on, of all_experts
  std::int64_t first_expert = 0;
  std::int64_t all_experts = 0;
  const std::int32_t* slots = nullptr;  // of all experts; nullptr: each in its own
  std::int64_t capacity = 0;            // 0: all
  bool padded = false;                  // every expert gets `capacity` rows
  std::int64_t rows = 0;                // of copy_of_row
  // Of visits: top_k and `experts` are parts of `part_slots` slots, and a token has `chosen` choices; 0: of copies.
  std::int64_t chosen = 0;
  std::int64_t part_slots = 0;
  std::int32_t *expert_rows = nullptr, *row_of_copy = nullptr, *copy_of_row = nullptr;
};

// Copies are counted in slabs of 256. `scratch`: routing_scratch() numbers; its first one ends as the number of copies whose
// id names no expert: then nothing else has been written.
[[nodiscard]] std::int64_t routing_scratch(std::int64_t copies, std::int64_t experts);
void build_routing(Stream stream, const RoutingPlan& plan, std::int32_t* scratch);

}  // namespace moesim::gpu
