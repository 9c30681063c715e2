// The backend of one NVIDIA GPU: our kernels (exec/cuda/kernels) and cuBLAS. Calls give work to a stream and return.
//
// All memory that kernels are given is the device's, index lists included; what layer_args.hpp and routing_args.hpp call host
// memory has been read when a call returns. Results repeat bit by bit, but for what cuBLAS does not promise. build_routing waits
// for its result. top_k with forced counts takes about a microsecond per token.
//
// Limits: heads of 256 columns, 2048 experts, rotary_dim 2048.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "exec/compute/compute_backend.hpp"
#include "exec/cuda/cublas_library.hpp"

namespace moesim {

class CudaBackend final : public ComputeBackend {
 public:
  [[nodiscard]] static Result<std::unique_ptr<CudaBackend>> make(int device, const CublasApi& cublas);
  ~CudaBackend() override;
  [[nodiscard]] std::string_view name() const override { return "cuda"; }
  [[nodiscard]] bool is_asynchronous() const override { return true; }
  [[nodiscard]] DeviceStream exchange_stream() const override { return exchange_; }
  // Makes its device that of the calling thread's further calls of CUDA.
  [[nodiscard]] Status select() const;
  // Whether an address lies in memory of this backend.
  [[nodiscard]] bool owns(const void* address) const;

  [[nodiscard]] Result<void*> allocate(Bytes size) override;
  void free(void* memory) override;
  [[nodiscard]] Status copy_in(DeviceStream stream, void* device, const void* host, Bytes size) override;
  [[nodiscard]] Status copy_out(DeviceStream stream, void* host, const void* device, Bytes size) override;
  [[nodiscard]] Status copy(DeviceStream stream, void* to, const void* from, Bytes size) override;
  [[nodiscard]] Status fill_zero(DeviceStream stream, void* device, Bytes size) override;

  [[nodiscard]] Result<DeviceStream> create_stream() override;
  void destroy_stream(DeviceStream stream) override;
  [[nodiscard]] Status synchronize(DeviceStream stream) override;
  [[nodiscard]] Result<DeviceEvent> create_event() override;
  void destroy_event(DeviceEvent event) override;
  [[nodiscard]] Status record(DeviceEvent event, DeviceStream stream) override;
  [[nodiscard]] Status wait(DeviceStream stream, DeviceEvent event) override;
  void reset(DeviceEvent) override {}  // recording again is enough
  void cancel_waits() override {}      // no call waits for an event
  [[nodiscard]] Result<bool> reached(DeviceEvent event) override;
  [[nodiscard]] Result<Seconds> elapsed(DeviceEvent from, DeviceEvent to) override;

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
  CudaBackend(int device, const CublasApi& cublas) : device_(device), cublas_(cublas) {}
  // What became of the launches since the last question.
  [[nodiscard]] Status launched(std::string_view kernel) const;
  // c = op(a) op(b) + beta c by groups (gemm.cpp).
  struct Product;
  [[nodiscard]] Status multiply(DeviceStream stream, const Product& product);
  [[nodiscard]] Status multiply_as_stored(DeviceStream stream, const Product& product);

  int device_;
  CublasApi cublas_;
  cublasHandle_t handle_ = nullptr;
  std::mutex cublas_mutex_;  // a handle has one stream at a time
  DeviceStream exchange_;
  mutable std::mutex memory_mutex_;
  std::map<const std::byte*, std::int64_t> blocks_;  // size by address
};

}  // namespace moesim
