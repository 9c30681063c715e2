#include "models/cost/work.hpp"

namespace moesim {

std::string_view memory_kernel_name(MemoryKernel kernel) {
  switch (kernel) {
    case MemoryKernel::kOther: return "other";
    case MemoryKernel::kCopy: return "copy";
    case MemoryKernel::kAdd: return "add";
    case MemoryKernel::kNorm: return "norm";
    case MemoryKernel::kNormGrad: return "norm_grad";
    case MemoryKernel::kActivation: return "activation";
    case MemoryKernel::kActivationGrad: return "activation_grad";
    case MemoryKernel::kPermute: return "permute";
    case MemoryKernel::kUnpermute: return "unpermute";
    case MemoryKernel::kOptimizer: return "optimizer";
    case MemoryKernel::kPermuteGrad: return "permute_grad";
    case MemoryKernel::kUnpermuteGrad: return "unpermute_grad";
    case MemoryKernel::kSortByExpert: return "sort_by_expert";
    case MemoryKernel::kRotary: return "rotary";
    case MemoryKernel::kRotaryGrad: return "rotary_grad";
    case MemoryKernel::kEmbedding: return "embedding";
    case MemoryKernel::kEmbeddingGrad: return "embedding_grad";
    case MemoryKernel::kTopK: return "top_k";
    case MemoryKernel::kTopKGrad: return "top_k_grad";
    case MemoryKernel::kCrossEntropy: return "cross_entropy";
    case MemoryKernel::kCrossEntropyGrad: return "cross_entropy_grad";
  }
  return "?";
}

}  // namespace moesim
