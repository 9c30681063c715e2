// What scaled dot-product attention costs with a fused (flash-attention) kernel.
//
//   time = overhead + max(math / efficiency + tail * longest block, memory)
//   math: 2 * sequences * queries * keys_seen * heads * (qk_dim + v_dim) operations; 2.5 times that backward
//   (the
//     scores are computed again; Dao, FlashAttention-2, section 3.1.2). A causal mask halves the keys a query
//     sees on average (also under context parallelism, whose ranks take both ends of the sequence), a window
//     w leaves w - w^2/(2*keys) of them.
//   tail: blocks of 128 queries (keys, backward) of one head are dealt to the compute units; when the last
//   ones run,
//     part of the machine is idle.
//   linear attention: chunks of 64 tokens against a qk_dim x v_dim state per head.
//
// Example, 1 x 4096 causal, 32 heads of 128 on 100 TFLOP/s effective, no tail: 2*4096*2048*32*256 = 1.37e11
// -> 1.37 ms.
#pragma once

#include "models/cost/cost.hpp"
#include "models/cost/law_parameters.hpp"
#include "models/cost/work.hpp"

namespace moesim {

// Operations a kernel that skips masked blocks executes; 2 per multiply-add.
[[nodiscard]] Flops attention_flops(const AttentionWork& work);
// Q, K, V, O (and their gradients, backward) read and written once.
[[nodiscard]] Bytes attention_bytes(const AttentionWork& work);

struct AttentionMachine {
  double units = 1;
  double flops = 0;        // peak of the format, per second
  double memory_rate = 0;  // bytes per second, efficiency applied
  AttentionParameters parameters;
  bool emulated = false;
};
[[nodiscard]] AttentionMachine attention_machine(const DeviceSpec& device, const AttentionParameters& parameters,
                                                 DType type);
[[nodiscard]] Cost attention_cost(const AttentionMachine& machine, const AttentionWork& work);

}  // namespace moesim
