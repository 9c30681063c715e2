// The backend of this machine's processor. Kernels run in the thread that calls them; each family has its file.
#pragma once

#include <condition_variable>
#include <mutex>

#include "exec/compute/compute_backend.hpp"

namespace moesim {

class CpuBackend final : public ComputeBackend {
 public:
  explicit CpuBackend(int blas_threads);
  [[nodiscard]] std::string_view name() const override { return "cpu"; }

  [[nodiscard]] Result<void*> allocate(Bytes size) override;
  void free(void* memory) override;
  [[nodiscard]] Status copy_in(DeviceStream stream, void* device, const void* host, Bytes size) override;
  [[nodiscard]] Status copy_out(DeviceStream stream, void* host, const void* device, Bytes size) override;
  [[nodiscard]] Status copy(DeviceStream stream, void* to, const void* from, Bytes size) override;
  [[nodiscard]] Status fill_zero(DeviceStream stream, void* device, Bytes size) override;

  [[nodiscard]] Result<DeviceStream> create_stream() override { return DeviceStream{}; }
  void destroy_stream(DeviceStream) override {}
  [[nodiscard]] Status synchronize(DeviceStream) override { return {}; }
  [[nodiscard]] Result<DeviceEvent> create_event() override;
  void destroy_event(DeviceEvent event) override;
  [[nodiscard]] Status record(DeviceEvent event, DeviceStream stream) override;
  [[nodiscard]] Status wait(DeviceStream stream, DeviceEvent event) override;
  void reset(DeviceEvent event) override;
  void cancel_waits() override;

  [[nodiscard]] Status gemm(DeviceStream stream, const GemmArgs& args) override;
  [[nodiscard]] Status gemm_dgrad(DeviceStream stream, const GemmDgradArgs& args) override;
  [[nodiscard]] Status gemm_wgrad(DeviceStream stream, const GemmWgradArgs& args) override;
  [[nodiscard]] Status grouped_gemm(DeviceStream stream, const GroupedGemmArgs& args) override;
  [[nodiscard]] Status grouped_gemm_dgrad(DeviceStream stream, const GroupedGemmDgradArgs& args) override;
  [[nodiscard]] Status grouped_gemm_wgrad(DeviceStream stream, const GroupedGemmWgradArgs& args) override;
  [[nodiscard]] Status norm(DeviceStream stream, const NormArgs& args) override;
  [[nodiscard]] Status norm_grad(DeviceStream stream, const NormGradArgs& args) override;
  [[nodiscard]] Status rotary(DeviceStream stream, const RotaryArgs& args) override;
  [[nodiscard]] Status rotary_grad(DeviceStream stream, const RotaryGradArgs& args) override;
  [[nodiscard]] Status attention(DeviceStream stream, const AttentionArgs& args) override;
  [[nodiscard]] Status attention_grad(DeviceStream stream, const AttentionGradArgs& args) override;
  [[nodiscard]] Status activation(DeviceStream stream, const ActivationArgs& args) override;
  [[nodiscard]] Status activation_grad(DeviceStream stream, const ActivationGradArgs& args) override;
  [[nodiscard]] Status embedding(DeviceStream stream, const EmbeddingArgs& args) override;
  [[nodiscard]] Status embedding_grad(DeviceStream stream, const EmbeddingGradArgs& args) override;
  [[nodiscard]] Status cross_entropy(DeviceStream stream, const CrossEntropyArgs& args) override;
  [[nodiscard]] Status combine_loss(DeviceStream stream, const CombineLossArgs& args) override;
  [[nodiscard]] Status loss_sum(DeviceStream stream, const LossSumArgs& args) override;
  [[nodiscard]] Status cross_entropy_grad(DeviceStream stream, const CrossEntropyGradArgs& args) override;

  [[nodiscard]] Status top_k(DeviceStream stream, const TopKArgs& args) override;
  [[nodiscard]] Status top_k_grad(DeviceStream stream, const TopKGradArgs& args) override;
  [[nodiscard]] Status build_routing(DeviceStream stream, const BuildRoutingArgs& args) override;
  [[nodiscard]] Status deal_rows(DeviceStream stream, const DealRowsArgs& args) override;
  [[nodiscard]] Status permute(DeviceStream stream, const PermuteArgs& args) override;
  [[nodiscard]] Status permute_grad(DeviceStream stream, const PermuteGradArgs& args) override;
  [[nodiscard]] Status unpermute(DeviceStream stream, const UnpermuteArgs& args) override;
  [[nodiscard]] Status unpermute_grad(DeviceStream stream, const UnpermuteGradArgs& args) override;
  [[nodiscard]] Status sort_rows(DeviceStream stream, const SortRowsArgs& args) override;
  [[nodiscard]] Status move_rows(DeviceStream stream, const MoveRowsArgs& args) override;

  [[nodiscard]] Status add(DeviceStream stream, const AddArgs& args) override;
  [[nodiscard]] Status cast(DeviceStream stream, const CastArgs& args) override;
  [[nodiscard]] Status to_fp8(DeviceStream stream, const ToFp8Args& args) override;
  [[nodiscard]] Status from_fp8(DeviceStream stream, const FromFp8Args& args) override;
  [[nodiscard]] Status scale(DeviceStream stream, const ScaleArgs& args) override;
  [[nodiscard]] Status square_sum(DeviceStream stream, const SquareSumArgs& args) override;
  [[nodiscard]] Status adamw(DeviceStream stream, const AdamWArgs& args) override;

 private:
  std::mutex mutex_;  // guards the events and the flag; a rank has few streams, so one lock serves them all
  std::condition_variable changed_;
  bool cancelled_ = false;
};

}  // namespace moesim
