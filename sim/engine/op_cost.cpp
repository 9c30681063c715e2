#include "sim/engine/op_cost.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "models/cost/law_parameters.hpp"

namespace moesim {
namespace {

const Tensor& operand(const Chunk& chunk, TensorId id) { return chunk.tensors[id.index()]; }

Bytes bytes_of(const Tensor& tensor, const RoutedRows& rows) {
  return storage(rows_of(tensor, rows) * tensor.columns * tensor.groups, tensor.type);
}

GemmWork gemm_work(std::int64_t m, std::int64_t n, std::int64_t k, DType type, DType output) {
  GemmWork work;
  work.m = m;
  work.n = n;
  work.k = k;
  work.type = type;
  work.output = output;
  return work;
}

// Forward and input gradient multiply rows by the weight (or its transpose); the weight gradient sums over the rows. Widths are
// those of the activations: a weight may be stored either way round.
Cost gemm_cost(const CostModel& costs, int device, const Op& op, const Chunk& chunk, const RoutedRows& rows) {
  const Tensor& first = operand(chunk, op.inputs[0]);
  const Tensor& second = operand(chunk, op.inputs[1]);
  const Tensor& result = operand(chunk, op.outputs[0]);
  const std::int64_t m = rows_of(first, rows);
  const DType type = first.type;
  switch (op.kind) {
    case OpKind::kGemm:
    case OpKind::kGemmDgrad: return costs.gemm(device, gemm_work(m, result.columns, first.columns, type, result.type));
    default: return costs.gemm(device, gemm_work(first.columns, second.columns, m, type, result.type));
  }
}

Cost grouped_gemm_cost(const CostModel& costs, int device, const Op& op, const Chunk& chunk, const RoutedRows& rows) {
  const Tensor& first = operand(chunk, op.inputs[0]);
  const Tensor& second = operand(chunk, op.inputs[1]);
  const Tensor& result = operand(chunk, op.outputs[0]);
  GroupedGemmWork work;
  work.rows = rows.per_expert;
  work.type = first.type;
  work.output = result.type;
  switch (op.kind) {
    case OpKind::kGroupedGemm:
      work.n = second.columns / op.columns.of;
      work.k = second.rows.count;
      break;
    case OpKind::kGroupedGemmDgrad:
      work.n = second.rows.count;
      work.k = second.columns / op.columns.of;
      break;
    default:
      work.n = result.columns / op.columns.of;
      work.k = result.rows.count;
      work.reduce_rows = true;
  }
  return costs.grouped_gemm(device, work);
}

// AdamW reads and writes the master weight and two moments, reads the gradient and writes the weight.
Cost optimizer_cost(const CostModel& costs, int device, const Op& op, const PrecisionRecipe& recipe) {
  if (op.payload_elements == 0) return {};
  MemoryWork work;
  const Bytes states = storage(op.payload_elements, recipe.master) + storage(op.payload_elements, recipe.moment) * 2;
  work.read = states + storage(op.payload_elements, recipe.gradient);
  work.written = states + storage(op.payload_elements, recipe.weight);
  work.kernel = MemoryKernel::kOptimizer;
  work.type = recipe.weight;
  return costs.memory_bound(device, work);
}

// Which curve a profile has for it, where it was measured by size.
MemoryKernel memory_kernel(OpKind kind) {
  switch (kind) {
    case OpKind::kAddExpertGrads:
    case OpKind::kAdd: return MemoryKernel::kAdd;
    case OpKind::kNorm: return MemoryKernel::kNorm;
    case OpKind::kNormGrad: return MemoryKernel::kNormGrad;
    case OpKind::kActivation: return MemoryKernel::kActivation;
    case OpKind::kActivationGrad: return MemoryKernel::kActivationGrad;
    case OpKind::kSpread:
    case OpKind::kPermute: return MemoryKernel::kPermute;
    case OpKind::kSumSpread:
    case OpKind::kUnpermute: return MemoryKernel::kUnpermute;
    case OpKind::kPermuteGrad: return MemoryKernel::kPermuteGrad;
    case OpKind::kUnpermuteGrad: return MemoryKernel::kUnpermuteGrad;
    case OpKind::kRecut:
    case OpKind::kSortByExpert: return MemoryKernel::kSortByExpert;
    case OpKind::kRotary: return MemoryKernel::kRotary;
    case OpKind::kRotaryGrad: return MemoryKernel::kRotaryGrad;
    case OpKind::kEmbedding: return MemoryKernel::kEmbedding;
    case OpKind::kEmbeddingGrad: return MemoryKernel::kEmbeddingGrad;
    case OpKind::kTopK: return MemoryKernel::kTopK;
    case OpKind::kTopKGrad: return MemoryKernel::kTopKGrad;
    case OpKind::kCrossEntropy: return MemoryKernel::kCrossEntropy;
    case OpKind::kCrossEntropyGrad: return MemoryKernel::kCrossEntropyGrad;
    default: return MemoryKernel::kOther;
  }
}

bool scatters_rows(OpKind kind) {
  switch (kind) {
    case OpKind::kPermute:
    case OpKind::kPermuteGrad:
    case OpKind::kUnpermute:
    case OpKind::kUnpermuteGrad:
    case OpKind::kSpread:
    case OpKind::kSumSpread:
    case OpKind::kSortByExpert:
    case OpKind::kRecut:
    case OpKind::kEmbedding:
    case OpKind::kEmbeddingGrad: return true;
    default: return false;
  }
}

// Everything else moves its operands once through memory.
Cost traffic_cost(const CostModel& costs, int device, const Op& op, const Chunk& chunk, const RoutedRows& rows) {
  MemoryWork work;
  work.kernel = memory_kernel(op.kind);
  if (op.outputs.size() > 0) work.type = operand(chunk, op.outputs[0]).type;
  for (const TensorId id : op.inputs) {
    const Tensor& tensor = operand(chunk, id);
    const bool table = op.kind == OpKind::kEmbedding && tensor.role == TensorRole::kWeight;
    if (!table) work.read += bytes_of(tensor, rows);
  }
  for (const TensorId id : op.outputs) {
    const Tensor& tensor = operand(chunk, id);
    const bool table = op.kind == OpKind::kEmbeddingGrad;
    if (!table) work.written += bytes_of(tensor, rows);
  }
  // Of tokens that were gathered from all ranks only those with a copy here are read.
  if (op.kind == OpKind::kPermute || op.kind == OpKind::kUnpermuteGrad) {
    const Bytes tokens = bytes_of(operand(chunk, op.inputs[0]), rows);
    work.read += std::min(tokens, bytes_of(operand(chunk, op.outputs[0]), rows)) - tokens;
  }
  if (op.kind == OpKind::kTakeShare) work.read = work.written;
  if (op.kind == OpKind::kSplitRows) work.written = work.read;
  if (op.kind == OpKind::kJoinRows) work.read = work.written;
  if (op.kind == OpKind::kRecut)
    work.read = work.written = bytes_of(operand(chunk, op.inputs[0]), rows);  // of all pieces
  if (op.kind == OpKind::kAddExpertGrads) {                                   // of a rank that owns all of them
    work.written = bytes_of(operand(chunk, op.inputs[0]), rows);
    work.read = work.written * 2;
  }
  if (op.kind == OpKind::kAdd && op.payload_elements > 0) {  // of two gradient buckets
    work.read = storage(op.payload_elements, op.payload_type) * 2;
    work.written = storage(op.payload_elements, op.payload_type);
  }
  if (op.kind == OpKind::kEmbedding) work.read += work.written;      // the rows that were picked
  if (op.kind == OpKind::kEmbeddingGrad) work.written += work.read;  // the rows that were added to
  if (op.kind == OpKind::kCrossEntropy) work.read += work.read;      // one pass for the maximum, one for the sum
  if (scatters_rows(op.kind)) {
    const TensorId wide = op.kind == OpKind::kEmbeddingGrad ? op.inputs[0] : op.outputs[0];
    const Tensor& tensor = operand(chunk, wide);
    work.row_bytes = storage(tensor.columns, tensor.type).count();
  }
  return costs.memory_bound(device, work);
}

}  // namespace

std::int64_t rows_of(const Tensor& tensor, const RoutedRows& rows) {
  switch (tensor.rows.source) {
    case RowSource::kFixed: return tensor.rows.count;
    case RowSource::kGated: return rows.gated;
    case RowSource::kRouted: return rows.routed;
    case RowSource::kRoutedShards: return rows.routed_shards;
    case RowSource::kArrived: return rows.arrived;
    case RowSource::kArrivedShards: return rows.arrived_shards;
    case RowSource::kSpread:
    case RowSource::kRelayed:
    case RowSource::kRelaySpread:
    case RowSource::kVisiting: return rows.visits.of(tensor.rows.source);
  }
  return 0;
}

RowPiece piece_of(const Op& op, const Chunk& chunk) {
  if (op.kind == OpKind::kSplitRows || op.kind == OpKind::kJoinRows) return {};
  if (op.kind == OpKind::kRecut) {  // all of what is cut; of a cut by distance that is without the copies that stay
    const RowPiece& from = operand(chunk, op.inputs[0]).rows.piece;
    return {from.whole() ? operand(chunk, op.outputs[0]).rows.piece.by : from.by, 0, 1};
  }
  for (const OperandList* list : {&op.inputs, &op.outputs})
    for (const TensorId id : *list)
      if (!operand(chunk, id).rows.piece.whole()) return operand(chunk, id).rows.piece;
  return {};
}

bool depends_on_routing(const Op& op, const Chunk& chunk) {
  const auto routed = [&](TensorId id) { return operand(chunk, id).rows.source != RowSource::kFixed; };
  return std::any_of(op.inputs.begin(), op.inputs.end(), routed) ||
         std::any_of(op.outputs.begin(), op.outputs.end(), routed);
}

int kernels_of(const Op& op) {
  switch (op.kind) {
    case OpKind::kOptimizerStep: return op.payload_elements > 0 ? 1 : 0;  // multi-tensor kernel; a marker has none
    case OpKind::kEmbeddingGrad: return 2;                                // sort of the token ids, sum by row
    case OpKind::kNormGrad: return 2;  // input gradient with partial weight gradients, and their sum
    case OpKind::kRotary:
    case OpKind::kRotaryGrad: return op.inputs.size() > 1 ? 4 : 2;  // queries and keys; with norms twice
    case OpKind::kAttentionGrad: return 3;  // row sums of gO * O, the gradients, conversion of gQ from FP32
    case OpKind::kTopK: return 4;           // scores, top-k, normalisation, map from experts to tokens
    case OpKind::kTopKGrad: return 2;       // scatter to the chosen experts, gradient of the scores
    case OpKind::kSpread:
    case OpKind::kPermute:
    case OpKind::kSortByExpert: return 2;               // places of the rows, copy of the rows
    case OpKind::kSplitRows: return op.outputs.size();  // a copy of each piece
    case OpKind::kJoinRows: return op.inputs.size();
    case OpKind::kRecut: return std::max(op.inputs.size(), op.outputs.size());  // rows from one piece to another
    case OpKind::kCrossEntropy: return 3;      // maximum, exponentials and their sum, logit of the label
    case OpKind::kCrossEntropyGrad: return 2;  // probabilities less the label, conversion from FP32
    default: return 1;  // GEMMs (also grouped: the law is of one grouped kernel), fused element-wise kernels
  }
}

namespace {

Cost device_cost(const CostModel& costs, int device, const Op& op, const Chunk& chunk, const PrecisionRecipe& recipe,
                 const RoutedRows& rows) {
  switch (op.kind) {
    case OpKind::kGemm:
    case OpKind::kGemmDgrad:
    case OpKind::kGemmWgrad: return gemm_cost(costs, device, op, chunk, rows);
    case OpKind::kGroupedGemm:
    case OpKind::kGroupedGemmDgrad:
    case OpKind::kGroupedGemmWgrad: return grouped_gemm_cost(costs, device, op, chunk, rows);
    case OpKind::kAttention:
    case OpKind::kAttentionGrad: {
      AttentionWork work = chunk.attentions[static_cast<std::size_t>(op.attention)];
      work.backward = op.kind == OpKind::kAttentionGrad;
      return costs.attention(device, work);
    }
    case OpKind::kOptimizerStep: return optimizer_cost(costs, device, op, recipe);
    default: return traffic_cost(costs, device, op, chunk, rows);
  }
}

// Of a piece that continues a kernel: neither issued nor started.
Cost without_start(const CostModel& costs, int device, const Op& op, Cost cost) {
  const LawParameters& laws = costs.parameters(device);
  const bool product =
      op.kind == OpKind::kGroupedGemm || op.kind == OpKind::kGroupedGemmDgrad || op.kind == OpKind::kGroupedGemmWgrad;
  cost.time = std::max(Seconds(0), cost.time - (product ? laws.gemm.overhead : laws.memory.overhead));
  return cost;
}

}  // namespace

Cost compute_cost(const CostModel& costs, int device, const Op& op, const Chunk& chunk, const PrecisionRecipe& recipe,
                  const RoutedRows& rows) {
  if (op.fusion == Fusion::kAddressing) return {};
  if (op.fusion == Fusion::kPiece)
    return without_start(costs, device, op, device_cost(costs, device, op, chunk, recipe, rows));
  return costs.as_issued(device, kernels_of(op), device_cost(costs, device, op, chunk, recipe, rows));
}

Flops product_flops(const Op& op, const Chunk& chunk, const RoutedRows& rows) {
  const auto product = [](std::int64_t m, std::int64_t n, std::int64_t k) {
    return Flops(2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k));
  };
  switch (op.kind) {
    case OpKind::kGemm:
    case OpKind::kGemmDgrad:
    case OpKind::kGroupedGemm:
    case OpKind::kGroupedGemmDgrad: {
      const Tensor& weight = operand(chunk, op.inputs[1]);
      return product(rows_of(operand(chunk, op.inputs[0]), rows), weight.rows.count, weight.columns / op.columns.of);
    }
    case OpKind::kGemmWgrad:
    case OpKind::kGroupedGemmWgrad: {
      const Tensor& gradient = operand(chunk, op.outputs[0]);
      return product(rows_of(operand(chunk, op.inputs[0]), rows), gradient.rows.count,
                     gradient.columns / op.columns.of);
    }
    default: return {};
  }
}

Bytes collective_bytes(const Op& op, const Chunk& chunk, int group_size, const RoutedRows& rows) {
  switch (op.kind) {
    case OpKind::kReduceGrads:
    case OpKind::kGatherParams:
    case OpKind::kGradNorm: return storage(op.payload_elements, op.payload_type);
    case OpKind::kAllGather: {  // the gathered size; rows that differ by rank count as the largest for all
      Bytes sum;
      for (int i = 0; i < op.inputs.size(); ++i) {
        const Tensor& out = operand(chunk, op.outputs[i]);
        sum += out.rows.source == RowSource::kFixed ? bytes_of(out, rows)
                                                    : bytes_of(operand(chunk, op.inputs[i]), rows) * group_size;
      }
      return sum;
    }
    case OpKind::kReceive: return bytes_of(operand(chunk, op.outputs[0]), rows);
    default: {
      Bytes sum;
      for (const TensorId id : op.inputs) sum += bytes_of(operand(chunk, id), rows);
      return sum;
    }
  }
}

CollectiveKind collective_kind(const Op& op, const Plan& plan) {
  switch (op.kind) {
    case OpKind::kAllGather:
    case OpKind::kGatherParams: return CollectiveKind::kAllGather;
    case OpKind::kReduceScatter: return CollectiveKind::kReduceScatter;
    case OpKind::kSend:
    case OpKind::kReceive: return CollectiveKind::kSendRecv;
    case OpKind::kReduceGrads: {
      if (op.group == GroupKind::kTp || op.group == GroupKind::kMirror) return CollectiveKind::kAllReduce;
      const ZeroStage zero = op.group == GroupKind::kEdp ? plan.zero_expert : plan.zero_dense;
      return zero == ZeroStage::kNone ? CollectiveKind::kAllReduce : CollectiveKind::kReduceScatter;
    }
    default: return CollectiveKind::kAllReduce;
  }
}

std::int64_t fetched_experts(const Op& op, const Chunk& chunk) {
  return operand(chunk, op.kind == OpKind::kFetchExperts ? op.outputs[0] : op.inputs[0]).groups;
}

Bytes fetched_bytes(const Op& op, const Chunk& chunk) {
  Bytes sum;
  for (const TensorId id : op.kind == OpKind::kFetchExperts ? op.outputs : op.inputs) {
    const Tensor& tensor = operand(chunk, id);
    sum += storage(tensor.rows.count * tensor.columns, tensor.type);
  }
  return sum;
}

Bytes token_row_bytes(const Op& op, const Chunk& chunk) {
  Bytes sum;
  for (const TensorId id : op.inputs) {
    const Tensor& tensor = operand(chunk, id);
    sum += storage(tensor.columns, tensor.type);
  }
  return sum;
}

}  // namespace moesim
