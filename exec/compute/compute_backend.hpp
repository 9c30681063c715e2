// What a device can do for the executor: memory, streams, and one kernel for each kind of operation that computes. The runner
// knows this interface only; a backend stands behind it for each kind of device.
//
// Streams and events. Work on a stream runs in the order given. `record` marks the point a stream has reached, `wait` holds a
// stream until an event's point is reached. On a GPU both return at once. On the CPU a kernel has run when its call
// returns, streams are the caller's threads, and `wait` blocks until another thread has recorded: so that both work,
// reset an event before it is used again, and where one thread feeds several streams record before waiting.
//
// Numbers. Operands are FP32 or BF16, in any mix that makes sense (rows on the wire FP8 with scales); sums, exponentials and statistics are FP32 or better. A
// wrong type or shape is an error that names kernel and operand, and nothing has been written then. Kernels are
// re-entrant: different threads may run different or the same ones at once, on memory that does not overlap.
#pragma once

#include <memory>
#include <string_view>

#include "base/error.hpp"
#include "base/units.hpp"
#include "exec/compute/layer_args.hpp"
#include "exec/compute/routing_args.hpp"

namespace moesim {

struct DeviceStream {
  void* handle = nullptr;
};
struct DeviceEvent {
  void* handle = nullptr;
};

class ComputeBackend {
 public:
  ComputeBackend() = default;
  ComputeBackend(const ComputeBackend&) = delete;
  ComputeBackend& operator=(const ComputeBackend&) = delete;
  virtual ~ComputeBackend() = default;
  [[nodiscard]] virtual std::string_view name() const = 0;  // "cpu"

  // Memory, aligned to 256 bytes. A pool that the caller cuts up itself is one allocation.
  [[nodiscard]] virtual Result<void*> allocate(Bytes size) = 0;
  virtual void free(void* memory) = 0;
  [[nodiscard]] virtual Status copy_in(DeviceStream stream, void* device, const void* host, Bytes size) = 0;
  [[nodiscard]] virtual Status copy_out(DeviceStream stream, void* host, const void* device, Bytes size) = 0;
  [[nodiscard]] virtual Status copy(DeviceStream stream, void* to, const void* from, Bytes size) = 0;
  [[nodiscard]] virtual Status fill_zero(DeviceStream stream, void* device, Bytes size) = 0;

  [[nodiscard]] virtual Result<DeviceStream> create_stream() = 0;
  virtual void destroy_stream(DeviceStream stream) = 0;
  [[nodiscard]] virtual Status synchronize(DeviceStream stream) = 0;
  [[nodiscard]] virtual Result<DeviceEvent> create_event() = 0;
  virtual void destroy_event(DeviceEvent event) = 0;
  [[nodiscard]] virtual Status record(DeviceEvent event, DeviceStream stream) = 0;
  [[nodiscard]] virtual Status wait(DeviceStream stream, DeviceEvent event) = 0;
  virtual void reset(DeviceEvent event) = 0;
  // Ends every wait, now and later, with an error; for the thread that has met a failure.
  virtual void cancel_waits() = 0;

  // Whether kernels may still run when their calls have returned, on memory that the host cannot read. Then what was given to a
  // stream has been done when an event recorded behind it is reached, and communicators must know the memory (exec/cuda).
  [[nodiscard]] virtual bool is_asynchronous() const { return false; }
  // Whether the point that was recorded last has been reached; does not wait.
  [[nodiscard]] virtual Result<bool> reached(DeviceEvent) { return true; }
  // From one point that was reached to another, by the device's clock; not for a backend whose kernels end with their calls.
  [[nodiscard]] virtual Result<Seconds> elapsed(DeviceEvent, DeviceEvent) {
    return fail(ErrorKind::kInternal, "this backend has no clock");
  }
  // For copies from and to messages: communication of this backend's memory begins when what stands on it has been done.
  [[nodiscard]] virtual DeviceStream exchange_stream() const { return {}; }

  [[nodiscard]] virtual Status gemm(DeviceStream stream, const GemmArgs& args) = 0;
  [[nodiscard]] virtual Status gemm_dgrad(DeviceStream stream, const GemmDgradArgs& args) = 0;
  [[nodiscard]] virtual Status gemm_wgrad(DeviceStream stream, const GemmWgradArgs& args) = 0;
  [[nodiscard]] virtual Status grouped_gemm(DeviceStream stream, const GroupedGemmArgs& args) = 0;
  [[nodiscard]] virtual Status grouped_gemm_dgrad(DeviceStream stream, const GroupedGemmDgradArgs& args) = 0;
  [[nodiscard]] virtual Status grouped_gemm_wgrad(DeviceStream stream, const GroupedGemmWgradArgs& args) = 0;
  [[nodiscard]] virtual Status norm(DeviceStream stream, const NormArgs& args) = 0;
  [[nodiscard]] virtual Status norm_grad(DeviceStream stream, const NormGradArgs& args) = 0;
  [[nodiscard]] virtual Status rotary(DeviceStream stream, const RotaryArgs& args) = 0;
  [[nodiscard]] virtual Status rotary_grad(DeviceStream stream, const RotaryGradArgs& args) = 0;
  [[nodiscard]] virtual Status attention(DeviceStream stream, const AttentionArgs& args) = 0;
  [[nodiscard]] virtual Status attention_grad(DeviceStream stream, const AttentionGradArgs& args) = 0;
  [[nodiscard]] virtual Status activation(DeviceStream stream, const ActivationArgs& args) = 0;
  [[nodiscard]] virtual Status activation_grad(DeviceStream stream, const ActivationGradArgs& args) = 0;
  [[nodiscard]] virtual Status embedding(DeviceStream stream, const EmbeddingArgs& args) = 0;
  [[nodiscard]] virtual Status embedding_grad(DeviceStream stream, const EmbeddingGradArgs& args) = 0;
  [[nodiscard]] virtual Status cross_entropy(DeviceStream stream, const CrossEntropyArgs& args) = 0;
  [[nodiscard]] virtual Status combine_loss(DeviceStream stream, const CombineLossArgs& args) = 0;
  [[nodiscard]] virtual Status loss_sum(DeviceStream stream, const LossSumArgs& args) = 0;
  [[nodiscard]] virtual Status cross_entropy_grad(DeviceStream stream, const CrossEntropyGradArgs& args) = 0;

  [[nodiscard]] virtual Status top_k(DeviceStream stream, const TopKArgs& args) = 0;
  [[nodiscard]] virtual Status top_k_grad(DeviceStream stream, const TopKGradArgs& args) = 0;
  [[nodiscard]] virtual Status build_routing(DeviceStream stream, const BuildRoutingArgs& args) = 0;
  [[nodiscard]] virtual Status deal_rows(DeviceStream stream, const DealRowsArgs& args) = 0;
  [[nodiscard]] virtual Status permute(DeviceStream stream, const PermuteArgs& args) = 0;
  [[nodiscard]] virtual Status permute_grad(DeviceStream stream, const PermuteGradArgs& args) = 0;
  [[nodiscard]] virtual Status unpermute(DeviceStream stream, const UnpermuteArgs& args) = 0;
  [[nodiscard]] virtual Status unpermute_grad(DeviceStream stream, const UnpermuteGradArgs& args) = 0;
  [[nodiscard]] virtual Status sort_rows(DeviceStream stream, const SortRowsArgs& args) = 0;
  [[nodiscard]] virtual Status move_rows(DeviceStream stream, const MoveRowsArgs& args) = 0;

  [[nodiscard]] virtual Status add(DeviceStream stream, const AddArgs& args) = 0;
  [[nodiscard]] virtual Status cast(DeviceStream stream, const CastArgs& args) = 0;
  [[nodiscard]] virtual Status to_fp8(DeviceStream stream, const ToFp8Args& args) = 0;
  [[nodiscard]] virtual Status from_fp8(DeviceStream stream, const FromFp8Args& args) = 0;
  [[nodiscard]] virtual Status scale(DeviceStream stream, const ScaleArgs& args) = 0;
  [[nodiscard]] virtual Status square_sum(DeviceStream stream, const SquareSumArgs& args) = 0;
  [[nodiscard]] virtual Status adamw(DeviceStream stream, const AdamWArgs& args) = 0;
};

// Matrix products by OpenBLAS with this many threads per call. The number holds for the whole process; 1 is right
// wherever several ranks share a machine.
[[nodiscard]] std::unique_ptr<ComputeBackend> make_cpu_backend(int blas_threads = 1);

}  // namespace moesim
