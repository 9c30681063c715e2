// The memory reader of a program: follows every tensor from the operation that makes it to the last one that reads it.
//
//   static       weights, main gradients, optimizer states of the rank's shards (ZeRO divides them by the group that
//                replicates them; bytes per number by the precision recipe)
//   activations  what the forward pass of a micro-batch keeps for its backward pass, summed over the micro-batches that
//                the pipeline has in flight, plus what the running block uses for itself
// Rows that depend on the gate count as the most any rank, micro-batch and group sees in that layer.
// Not in the program, so not in `peak`: the CUDA context, library workspaces and allocator fragmentation. kFrameworkReserve
// stands for them when fits() compares with the device.
#pragma once

#include <string_view>
#include <vector>

#include "sim/program/program.hpp"

namespace moesim {

// Estimated: about 0.6 GiB of context, 0.8 GiB of NCCL buffers and cuBLAS workspaces, and 3 GiB that the caching allocator
// cannot use. Megatron users see reserved exceed allocated memory by 2 to 6 GiB.
constexpr Bytes kFrameworkReserve{std::int64_t{4} << 30};

struct MemoryHolder {
  std::string_view name;  // "experts.up"; static text
  Bytes bytes;
};

struct StageMemory {
  Bytes weights;
  Bytes gradients;
  Bytes optimizer;
  Bytes saved_activations;                // at the peak
  Bytes working;                          // of the running block, at the peak
  Bytes peak;                             // sum of all
  std::vector<MemoryHolder> holders;      // saved activations at the peak by tensor name, largest first
  std::vector<Bytes> activation_by_call;  // highest activation bytes during each call of the stage
  [[nodiscard]] Bytes static_bytes() const { return weights + gradients + optimizer; }
};

struct MemoryReport {
  std::vector<StageMemory> stages;
  [[nodiscard]] const StageMemory& worst() const;
};

[[nodiscard]] MemoryReport walk_memory(const Program& program);

[[nodiscard]] inline bool fits(Bytes peak, Bytes device_memory) { return peak + kFrameworkReserve <= device_memory; }

}  // namespace moesim
