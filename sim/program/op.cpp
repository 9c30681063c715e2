#include "sim/program/op.hpp"

#include "base/error.hpp"
#include "sim/program/program.hpp"

namespace moesim {
namespace {

constexpr auto kKindNames = std::to_array<std::string_view>({"embedding",
                                                             "embedding_grad",
                                                             "norm",
                                                             "norm_grad",
                                                             "gemm",
                                                             "gemm_dgrad",
                                                             "gemm_wgrad",
                                                             "grouped_gemm",
                                                             "grouped_gemm_dgrad",
                                                             "grouped_gemm_wgrad",
                                                             "rotary",
                                                             "rotary_grad",
                                                             "attention",
                                                             "attention_grad",
                                                             "activation",
                                                             "activation_grad",
                                                             "add",
                                                             "cast",
                                                             "top_k",
                                                             "top_k_grad",
                                                             "permute",
                                                             "permute_grad",
                                                             "unpermute",
                                                             "unpermute_grad",
                                                             "sort_by_expert",
                                                             "replicate",
                                                             "sum_replicas",
                                                             "spread",
                                                             "sum_spread",
                                                             "cross_entropy",
                                                             "cross_entropy_grad",
                                                             "take_share",
                                                             "split_columns",
                                                             "join_columns",
                                                             "split_rows",
                                                             "join_rows",
                                                             "recut",
                                                             "scale",
                                                             "compress",
                                                             "decompress",
                                                             "add_expert_grads",
                                                             "all_gather",
                                                             "reduce_scatter",
                                                             "all_reduce",
                                                             "dispatch",
                                                             "combine",
                                                             "fetch_experts",
                                                             "return_expert_grads",
                                                             "send",
                                                             "receive",
                                                             "reduce_grads",
                                                             "gather_params",
                                                             "optimizer_step",
                                                             "grad_norm"});
static_assert(kKindNames.size() == static_cast<std::size_t>(OpKind::kGradNorm) + 1);

}  // namespace

std::string_view op_kind_name(OpKind kind) { return kKindNames[static_cast<std::size_t>(kind)]; }

bool is_communication(OpKind kind) {
  switch (kind) {
    case OpKind::kAllGather:
    case OpKind::kReduceScatter:
    case OpKind::kAllReduce:
    case OpKind::kDispatch:
    case OpKind::kCombine:
    case OpKind::kFetchExperts:
    case OpKind::kReturnExpertGrads:
    case OpKind::kSend:
    case OpKind::kReceive:
    case OpKind::kReduceGrads:
    case OpKind::kGatherParams:
    case OpKind::kGradNorm: return true;
    default: return false;
  }
}

std::string_view phase_name(Phase phase) {
  constexpr std::array<std::string_view, 6> kNames = {"forward",         "recompute", "backward_input",
                                                      "backward_weight", "grad_sync", "optimizer"};
  return kNames[static_cast<std::size_t>(phase)];
}

std::string_view block_kind_name(BlockKind kind) {
  constexpr std::array<std::string_view, 10> kNames = {
      "forward",         "forward_first",        "backward", "backward_last", "backward_input",
      "backward_weight", "backward_weight_last", "pair",     "prologue",      "epilogue"};
  return kNames[static_cast<std::size_t>(kind)];
}

void OperandList::push_back(TensorId id) {
  MOESIM_ASSERT(size_ < ids_.size());
  ids_[size_++] = id;
}

}  // namespace moesim
