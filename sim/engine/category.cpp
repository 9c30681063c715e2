#include "sim/engine/category.hpp"

#include <array>

namespace moesim {
namespace {

struct Description {
  std::string_view name;
  std::string_view description;
};
constexpr std::array<Description, kCategories> kDescriptions = {{
    {"attention", "attention projections and core"},
    {"dense_ffn", "dense feed-forward layers"},
    {"experts", "routed experts"},
    {"shared_experts", "shared experts"},
    {"routing", "gate, permutation and sorting of tokens"},
    {"norms", "norms, residuals and casts"},
    {"head", "embedding, logits and loss"},
    {"optimizer", "optimizer step, sums of gradients"},
    {"tp_comm", "tensor-parallel communication"},
    {"cp_comm", "context-parallel communication"},
    {"ep_comm", "expert dispatch and combine"},
    {"esp_comm", "expert-shard communication"},
    {"dp_comm", "gradient and parameter synchronisation"},
    {"pipeline_wait", "waiting for a neighbouring pipeline stage"},
}};

}  // namespace

std::string_view category_name(Category category) { return kDescriptions[static_cast<std::size_t>(category)].name; }
std::string_view category_description(Category category) {
  return kDescriptions[static_cast<std::size_t>(category)].description;
}

Category category_of(const Op& op) {
  if (op.kind == OpKind::kReduceGrads && op.stream == Stream::kEp) return Category::kDpComm;
  switch (op.stream) {
    case Stream::kTp: return Category::kTpComm;
    case Stream::kCp: return Category::kCpComm;
    case Stream::kEp:
    case Stream::kEpInside: return Category::kEpComm;
    case Stream::kEsp: return Category::kEspComm;
    case Stream::kDp: return Category::kDpComm;
    case Stream::kCompute: break;
    default: return Category::kPpComm;
  }
  if (op.phase == Phase::kGradSync) return Category::kOptimizer;
  switch (op.kind) {
    case OpKind::kNorm:
    case OpKind::kNormGrad:
    case OpKind::kAdd:
    case OpKind::kScale:
    case OpKind::kCast: return Category::kNorms;
    case OpKind::kTopK:
    case OpKind::kTopKGrad:
    case OpKind::kPermute:
    case OpKind::kPermuteGrad:
    case OpKind::kUnpermute:
    case OpKind::kUnpermuteGrad:
    case OpKind::kSortByExpert:
    case OpKind::kReplicate:
    case OpKind::kSumReplicas:
    case OpKind::kSpread:
    case OpKind::kSumSpread:
    case OpKind::kSplitColumns:
    case OpKind::kJoinColumns:
    case OpKind::kSplitRows:
    case OpKind::kJoinRows:
    case OpKind::kRecut:
    case OpKind::kCompress:
    case OpKind::kDecompress:
    case OpKind::kTakeShare: return Category::kRouting;
    case OpKind::kOptimizerStep: return Category::kOptimizer;
    case OpKind::kEmbedding:
    case OpKind::kEmbeddingGrad:
    case OpKind::kCrossEntropy:
    case OpKind::kCrossEntropyGrad: return Category::kHead;
    default: break;
  }
  if (op.name.starts_with("attention.")) return Category::kAttention;
  if (op.name.starts_with("experts.")) return Category::kExperts;
  if (op.name.starts_with("shared.")) return Category::kSharedExperts;
  if (op.name.starts_with("gate.")) return Category::kRouting;
  if (op.name.starts_with("head.")) return Category::kHead;
  return Category::kDenseFfn;
}

}  // namespace moesim
