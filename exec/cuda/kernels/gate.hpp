// The gate: scores, the experts chosen, their weights, and the gradient (routing_args.hpp). Shapes have been checked.
#pragma once

#include "exec/cuda/kernels/operand.hpp"

namespace moesim::gpu {

constexpr std::int64_t kMostExperts = 2048;  // 64 for each lane of a warp, which marks those taken in one word

enum class Score : std::uint8_t { kSoftmax, kSoftmaxOfTopk, kSigmoid };

struct Gate {
  std::int64_t top_k = 1;
  Score score = Score::kSoftmax;
  bool normalise = false;
  float scale = 1.0F;
};

// `sums`: 2 numbers of scratch for each token, which gate_statistics reads: what makes logits shares of the scores.
// `places`, where it is not null: the forced counts, one for each expert, in device memory; it is used up. Then one warp goes
// through the tokens in their order, since each choice depends on all before it: about a microsecond each.
void choose_experts(Stream stream, const Gate& gate, const Operand& logits, std::int32_t* places,
                    const Operand& probabilities, float* sums);

// `counts`: scratch, one number for each expert.
void gate_statistics(Stream stream, const Gate& gate, const Operand& logits, const Operand& probabilities,
                     const float* sums, std::int32_t* counts, const Operand& statistics);

struct Balance {
  double factor = 0.0;  // coefficient * experts / (tokens^2 * top_k)
  Operand statistics;   // may be absent
};
void gate_grad(Stream stream, const Gate& gate, const Operand& gp, const Operand& probabilities, const Operand& logits,
               const Balance& balance, const Operand& glogits);

}  // namespace moesim::gpu
