// What a kernel is asked to do, in the terms the cost laws read.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "base/units.hpp"
#include "models/precision.hpp"

namespace moesim {

// C[m,n] += A[m,k] * B[k,n], `batch` times; 2*m*n*k operations each. `type` is the input format.
struct GemmWork {
  std::int64_t m = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;
  std::int64_t batch = 1;
  DType type = DType::kBf16;
  DType output = DType::kBf16;
};

// One GEMM per group with rows[i] rows, all n x k: the local experts of a rank. Empty groups cost (almost) nothing.
// For the weight gradient the rows are the reduced dimension: n x k outputs, `reduce_rows` set.
struct GroupedGemmWork {
  std::span<const std::int64_t> rows;
  std::int64_t n = 0;
  std::int64_t k = 0;
  DType type = DType::kBf16;
  DType output = DType::kBf16;
  bool reduce_rows = false;
};

// Scaled dot-product attention of `sequences` sequences. Query and key lengths differ under context parallelism.
struct AttentionWork {
  std::int64_t sequences = 1;
  std::int64_t query_length = 0;
  std::int64_t key_length = 0;
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t qk_dim = 0;
  std::int64_t v_dim = 0;
  std::int64_t window = 0;  // 0: the whole sequence
  bool causal = true;
  bool backward = false;
  bool linear = false;  // linear attention: state of qk_dim x v_dim per head instead of scores
  DType type = DType::kBf16;
};

// Kernels of equal traffic reach different shares of the bandwidth; kOther is none in particular.
enum class MemoryKernel : std::uint8_t {
  kOther,
  kCopy,
  kAdd,
  kNorm,
  kNormGrad,
  kActivation,
  kActivationGrad,
  kPermute,
  kUnpermute,
  kOptimizer,
  kPermuteGrad,
  kUnpermuteGrad,
  kSortByExpert,
  kRotary,
  kRotaryGrad,
  kEmbedding,
  kEmbeddingGrad,
  kTopK,
  kTopKGrad,
  kCrossEntropy,
  kCrossEntropyGrad,
};
inline constexpr int kMemoryKernels = 21;
[[nodiscard]] std::string_view memory_kernel_name(MemoryKernel kernel);  // "norm_grad"

// A kernel whose time is its memory traffic: norms, activations, permutes, optimizer updates.
struct MemoryWork {
  MemoryKernel kernel = MemoryKernel::kOther;
  DType type = DType::kBf16;  // of the elements
  Bytes read;
  Bytes written;
  int kernels = 1;
  // Scattered rows (permute) reach less of the bandwidth than streams do; bytes of one contiguous row, 0: a stream.
  std::int64_t row_bytes = 0;
};

}  // namespace moesim
