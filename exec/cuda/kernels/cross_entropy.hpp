// Cross entropy over shards of the vocabulary (layer_args.hpp). Labels, statistics and sums are device memory.
#pragma once

#include "exec/cuda/kernels/operand.hpp"

namespace moesim::gpu {

// Columns [0, valid) of the logits stand for ids [first, first + valid).
struct VocabularyPart {
  const std::int32_t* labels = nullptr;
  std::int64_t first = 0;
  std::int64_t valid = 0;
};

void cross_entropy(Stream stream, const VocabularyPart& part, const Operand& logits, const Operand& statistics);
// combined = part, or together with what stands there already.
enum class Combine : std::uint8_t { kFirst, kNext };
void combine_loss(Stream stream, const Operand& part, const Operand& combined, Combine how);
void loss_sum(Stream stream, const std::int32_t* labels, const Operand& statistics, double* sum);
void cross_entropy_grad(Stream stream, const VocabularyPart& part, const Operand& logits, const Operand& statistics,
                        float scale, const Operand& glogits);

}  // namespace moesim::gpu
