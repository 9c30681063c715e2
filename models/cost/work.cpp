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
  }
  return "?";
}

}  // namespace moesim
