#include "exec/run/compute_wait.hpp"

#include <cstring>
#include <utility>
#include <vector>

#include "exec/compute/bf16.hpp"
#include "traces/random.hpp"

namespace moesim {
namespace {

// Of 0 to 255, which FP32 and BF16 hold alike; the same at every call, since a repeated pass has to choose the same.
std::vector<std::byte> independent_logits(const MatrixView& like) {
  const std::int64_t numbers = like.rows * like.row_stride;
  std::vector<std::byte> bytes(static_cast<std::size_t>(storage(numbers, like.type).count()));
  Pcg32 random(1);
  for (std::int64_t i = 0; i < numbers; ++i) {
    const auto value = static_cast<float>(random.below(256));
    const auto at = static_cast<std::size_t>(storage(i, like.type).count());
    if (like.type == DType::kFp32) {
      std::memcpy(bytes.data() + at, &value, sizeof value);
    } else {
      const std::uint16_t half = float_to_bf16(value);
      std::memcpy(bytes.data() + at, &half, sizeof half);
    }
  }
  return bytes;
}

class SkippedKernels final : public ComputeBackend {
 public:
  explicit SkippedKernels(std::unique_ptr<ComputeBackend> backend) : backend_(std::move(backend)) {}
  [[nodiscard]] std::string_view name() const override { return backend_->name(); }

  [[nodiscard]] Result<void*> allocate(Bytes size) override {
    MOESIM_ASSIGN(void* memory, backend_->allocate(size));
    // Sums over what no kernel has written should meet numbers.
    MOESIM_TRY(backend_->fill_zero({}, memory, size));
    return memory;
  }
  void free(void* memory) override { backend_->free(memory); }
  [[nodiscard]] Status copy_in(DeviceStream stream, void* device, const void* host, Bytes size) override {
    return backend_->copy_in(stream, device, host, size);
  }
  [[nodiscard]] Status copy_out(DeviceStream stream, void* host, const void* device, Bytes size) override {
    return backend_->copy_out(stream, host, device, size);
  }
  [[nodiscard]] Status copy(DeviceStream stream, void* to, const void* from, Bytes size) override {
    return backend_->copy(stream, to, from, size);
  }
  [[nodiscard]] Status fill_zero(DeviceStream stream, void* device, Bytes size) override {
    return backend_->fill_zero(stream, device, size);
  }
  [[nodiscard]] Result<DeviceStream> create_stream() override { return backend_->create_stream(); }
  void destroy_stream(DeviceStream stream) override { backend_->destroy_stream(stream); }
  [[nodiscard]] Status synchronize(DeviceStream stream) override { return backend_->synchronize(stream); }
  [[nodiscard]] Result<DeviceEvent> create_event() override { return backend_->create_event(); }
  void destroy_event(DeviceEvent event) override { backend_->destroy_event(event); }
  [[nodiscard]] Status record(DeviceEvent event, DeviceStream stream) override {
    return backend_->record(event, stream);
  }
  [[nodiscard]] Status wait(DeviceStream stream, DeviceEvent event) override { return backend_->wait(stream, event); }
  void reset(DeviceEvent event) override { backend_->reset(event); }
  void cancel_waits() override { backend_->cancel_waits(); }

  // Forced counts decide how many copies each expert gets; logits that know nothing of each other, which experts a token chooses
  // together.
  [[nodiscard]] Status top_k(DeviceStream stream, const TopKArgs& args) override {
    const MatrixView& logits = args.logits;
    const std::vector<std::byte> drawn = independent_logits(logits);
    MOESIM_TRY(backend_->copy_in(stream, logits.data, drawn.data(), Bytes(std::ssize(drawn))));
    MOESIM_TRY(backend_->synchronize(stream));
    return backend_->top_k(stream, args);
  }
  [[nodiscard]] Status build_routing(DeviceStream stream, const BuildRoutingArgs& args) override {
    return backend_->build_routing(stream, args);
  }
  [[nodiscard]] Status deal_rows(DeviceStream stream, const DealRowsArgs& args) override {
    return backend_->deal_rows(stream, args);
  }

  [[nodiscard]] Status gemm(DeviceStream, const GemmArgs&) override { return {}; }
  [[nodiscard]] Status gemm_dgrad(DeviceStream, const GemmDgradArgs&) override { return {}; }
  [[nodiscard]] Status gemm_wgrad(DeviceStream, const GemmWgradArgs&) override { return {}; }
  [[nodiscard]] Status grouped_gemm(DeviceStream, const GroupedGemmArgs&) override { return {}; }
  [[nodiscard]] Status grouped_gemm_dgrad(DeviceStream, const GroupedGemmDgradArgs&) override { return {}; }
  [[nodiscard]] Status grouped_gemm_wgrad(DeviceStream, const GroupedGemmWgradArgs&) override { return {}; }
  [[nodiscard]] Status norm(DeviceStream, const NormArgs&) override { return {}; }
  [[nodiscard]] Status norm_grad(DeviceStream, const NormGradArgs&) override { return {}; }
  [[nodiscard]] Status rotary(DeviceStream, const RotaryArgs&) override { return {}; }
  [[nodiscard]] Status rotary_grad(DeviceStream, const RotaryGradArgs&) override { return {}; }
  [[nodiscard]] Status attention(DeviceStream, const AttentionArgs&) override { return {}; }
  [[nodiscard]] Status attention_grad(DeviceStream, const AttentionGradArgs&) override { return {}; }
  [[nodiscard]] Status activation(DeviceStream, const ActivationArgs&) override { return {}; }
  [[nodiscard]] Status activation_grad(DeviceStream, const ActivationGradArgs&) override { return {}; }
  [[nodiscard]] Status embedding(DeviceStream, const EmbeddingArgs&) override { return {}; }
  [[nodiscard]] Status embedding_grad(DeviceStream, const EmbeddingGradArgs&) override { return {}; }
  [[nodiscard]] Status cross_entropy(DeviceStream, const CrossEntropyArgs&) override { return {}; }
  [[nodiscard]] Status combine_loss(DeviceStream, const CombineLossArgs&) override { return {}; }
  [[nodiscard]] Status loss_sum(DeviceStream, const LossSumArgs&) override { return {}; }
  [[nodiscard]] Status cross_entropy_grad(DeviceStream, const CrossEntropyGradArgs&) override { return {}; }
  [[nodiscard]] Status top_k_grad(DeviceStream, const TopKGradArgs&) override { return {}; }
  [[nodiscard]] Status permute(DeviceStream stream, const PermuteArgs& args) override {
    return args.decides ? backend_->permute(stream, args) : Status();
  }
  [[nodiscard]] Status permute_grad(DeviceStream, const PermuteGradArgs&) override { return {}; }
  [[nodiscard]] Status unpermute(DeviceStream, const UnpermuteArgs&) override { return {}; }
  [[nodiscard]] Status unpermute_grad(DeviceStream, const UnpermuteGradArgs&) override { return {}; }
  [[nodiscard]] Status sort_rows(DeviceStream, const SortRowsArgs&) override { return {}; }
  [[nodiscard]] Status move_rows(DeviceStream, const MoveRowsArgs&) override { return {}; }
  [[nodiscard]] Status add(DeviceStream, const AddArgs&) override { return {}; }
  [[nodiscard]] Status cast(DeviceStream, const CastArgs&) override { return {}; }
  [[nodiscard]] Status to_fp8(DeviceStream, const ToFp8Args&) override { return {}; }
  [[nodiscard]] Status from_fp8(DeviceStream, const FromFp8Args&) override { return {}; }
  [[nodiscard]] Status scale(DeviceStream, const ScaleArgs&) override { return {}; }
  [[nodiscard]] Status square_sum(DeviceStream, const SquareSumArgs&) override { return {}; }
  [[nodiscard]] Status adamw(DeviceStream, const AdamWArgs&) override { return {}; }

 private:
  std::unique_ptr<ComputeBackend> backend_;
};

}  // namespace

std::unique_ptr<ComputeBackend> without_kernels(std::unique_ptr<ComputeBackend> backend) {
  return std::make_unique<SkippedKernels>(std::move(backend));
}

}  // namespace moesim
