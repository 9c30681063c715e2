// Dense layers, attention, norms, embedding and loss.
#include <fmt/format.h>

#include <algorithm>

#include "exec/run/op_table.hpp"

namespace moesim {
namespace {

AttentionHeads heads_of(const AttentionWork& work) {
  return {work.heads, work.kv_heads, work.qk_dim, work.v_dim, work.window};
}

Status run_embedding(const OpContext& c) {
  MOESIM_ASSIGN(const StoredTensor y, c.out(0));
  const MatrixView table = c.in(0);
  return c.rank().backend.embedding(c.rank().stream,
                                    {index_view(c.rows().tokens), c.rank().at.tp * table.rows, table, y.view});
}

Status run_embedding_grad(const OpContext& c) {
  MOESIM_ASSIGN(const OpContext::GradientTarget gradient, c.weight_gradient(0));
  const MatrixView table = gradient.view;
  if (gradient.sum == GradientSum::kSet) {  // only the rows of tokens are touched
    MOESIM_TRY(
        c.rank().backend.fill_zero(c.rank().stream, table.data, storage(table.rows * table.columns, table.type)));
  }
  return c.rank().backend.embedding_grad(c.rank().stream,
                                         {index_view(c.rows().tokens), c.rank().at.tp * table.rows, c.in(0), table});
}

Status run_norm(const OpContext& c) {
  MOESIM_ASSIGN(const StoredTensor y, c.out(0));
  return c.rank().backend.norm(c.rank().stream, {c.in(0), c.in(1), y.view, c.rank().settings.norm_epsilon});
}

Status run_norm_grad(const OpContext& c) {
  MOESIM_ASSIGN(const StoredTensor gx, c.out(0));
  MOESIM_ASSIGN(const MatrixView gw, c.gradient_of(c.op().inputs[2]));
  return c.rank().backend.norm_grad(c.rank().stream,
                                    {c.in(0), c.in(1), c.in(2), gx.view, gw, c.rank().settings.norm_epsilon});
}

Status run_linear(const OpContext& c) {
  ComputeBackend& backend = c.rank().backend;
  const DeviceStream stream = c.rank().stream;
  if (c.op().kind == OpKind::kGemmWgrad) {
    MOESIM_ASSIGN(const OpContext::GradientTarget gw, c.weight_gradient(0));
    const bool transposed = c.tensor(c.tensor(c.op().outputs[0]).gradient_of).transposed;
    return backend.gemm_wgrad(stream, transposed ? GemmWgradArgs{c.in(1), c.in(0), gw.view, gw.sum}
                                                 : GemmWgradArgs{c.in(0), c.in(1), gw.view, gw.sum});
  }
  MOESIM_ASSIGN(const StoredTensor out, c.out(0));
  // With a weight stored as [out, in] the two products change places.
  const bool by_rows = (c.op().kind == OpKind::kGemm) != c.tensor(c.op().inputs[1]).transposed;
  if (by_rows) return backend.gemm(stream, {c.in(0), c.in(1), out.view});
  return backend.gemm_dgrad(stream, {c.in(0), c.in(1), out.view});
}

// The columns of a weight, or of its gradient, that an operation is about.
MatrixView block_of(const OpContext& c, const MatrixView& weight) {
  const ColumnBlock& block = c.op().columns;
  const std::int64_t columns = weight.columns / block.of;
  return column_range(weight, block.index * columns, columns);
}

Status run_experts(const OpContext& c) {
  ComputeBackend& backend = c.rank().backend;
  const DeviceStream stream = c.rank().stream;
  const std::vector<std::int64_t> rows = c.routing().expert_row_counts(c.tensor(c.op().inputs[0]).rows.piece);
  if (c.op().kind == OpKind::kGroupedGemmWgrad) {
    if (c.tensor(c.op().outputs[0]).is_transient()) {  // of fetched weights, kept apart until it goes back
      MOESIM_ASSIGN(const StoredTensor apart, c.out(0));
      return backend.grouped_gemm_wgrad(stream, {c.in(0), c.in(1), apart.view, rows, GradientSum::kSet});
    }
    MOESIM_ASSIGN(OpContext::GradientTarget gw, c.weight_gradient(0));
    if (gw.sum == GradientSum::kSet && c.op().columns.of > 1) {  // other blocks of columns are to be added
      MOESIM_TRY(backend.fill_zero(stream, gw.view.data, storage(gw.view.rows * gw.view.columns, gw.view.type)));
      gw.sum = GradientSum::kAdd;
    }
    return backend.grouped_gemm_wgrad(stream, {c.in(0), c.in(1), block_of(c, gw.view), rows, gw.sum});
  }
  MOESIM_ASSIGN(const StoredTensor out, c.out(0));
  const MatrixView w = block_of(c, c.in(1));
  if (c.op().kind == OpKind::kGroupedGemm) return backend.grouped_gemm(stream, {c.in(0), w, out.view, rows});
  MOESIM_TRY(backend.grouped_gemm_dgrad(stream, {c.in(0), w, out.view, rows}));
  if (c.op().inputs.size() == 2) return {};
  return backend.add(stream, {out.view, c.in(2), out.view});
}

// Which heads the columns of a rotary operation are: all of them, or with context parallelism queries and keys apart.
struct RotaryPart {
  RotaryShape shape;
  bool queries = true;
  bool keys = true;
};
RotaryPart rotary_part(const OpContext& c) {
  const AttentionShape& attention = c.layer().attention;
  const int tp = c.rank().program.plan.sizes().tp;
  RotaryPart part;
  part.queries = c.op().name != "attention.rotary_kv";
  part.keys = c.op().name != "attention.rotary_q";
  part.shape = {part.queries ? attention.heads / tp : 0,
                part.keys ? std::max<std::int64_t>(1, attention.kv_heads / tp) : 0,
                attention.head_dim,
                attention.head_dim,
                c.rank().settings.rope_theta,
                c.rank().settings.norm_epsilon};
  return part;
}

struct HeadNormViews {
  std::optional<MatrixView> q, k;
};
HeadNormViews split_norms(const OpContext& c, const RotaryPart& part, const MatrixView& norms) {
  const bool wide = c.layer().attention.qk_norm_wide;
  const std::int64_t q = part.queries ? part.shape.head_dim * (wide ? part.shape.q_heads : 1) : 0;
  HeadNormViews views;
  if (part.queries) views.q = column_range(norms, 0, q);
  if (part.keys) views.k = column_range(norms, q, norms.columns - q);
  return views;
}

Status run_rotary(const OpContext& c) {
  const RotaryPart part = rotary_part(c);
  HeadNormViews norms;
  if (c.op().inputs.size() > 1) norms = split_norms(c, part, c.in(1));
  MOESIM_ASSIGN(const StoredTensor y, c.out(0));
  return c.rank().backend.rotary(c.rank().stream,
                                 {part.shape, index_view(c.rows().positions), c.in(0), norms.q, norms.k, y.view});
}

Status run_rotary_grad(const OpContext& c) {
  const RotaryPart part = rotary_part(c);
  RotaryGradArgs args;
  args.shape = part.shape;
  args.positions = index_view(c.rows().positions);
  args.gy = c.in(0);
  if (const TensorId weight = c.index().rotary_norms(c.op().layer, c.op().name); weight.valid()) {
    MOESIM_ASSIGN(const MatrixView gradient, c.gradient_of(weight));
    const HeadNormViews norms = split_norms(c, part, c.weight(weight));
    const HeadNormViews gradients = split_norms(c, part, gradient);
    args.x = c.in(1);
    args.q_norm = norms.q;
    args.k_norm = norms.k;
    args.gq_norm = gradients.q;
    args.gk_norm = gradients.k;
  }
  MOESIM_ASSIGN(const StoredTensor gx, c.out(0));
  args.gx = gx.view;
  return c.rank().backend.rotary_grad(c.rank().stream, args);
}

Status run_attention(const OpContext& c) {
  const AttentionHeads heads = heads_of(c.chunk().attentions[static_cast<std::size_t>(c.op().attention)]);
  MOESIM_ASSIGN(const StoredTensor o, c.out(0));
  MOESIM_ASSIGN(const StoredTensor lse, c.out(1));
  AttentionArgs args;
  args.shape = heads;
  args.queries = c.rows().queries();
  args.keys = c.rows().keys();
  if (c.op().inputs.size() == 1) {
    const QkvViews parts = split_qkv(c.in(0), heads);
    args.q = parts.q, args.k = parts.k, args.v = parts.v;
  } else {
    const KvViews parts = split_kv(c.in(1), heads);
    args.q = c.in(0), args.k = parts.k, args.v = parts.v;
  }
  args.o = o.view;
  args.lse = lse.view;
  return c.rank().backend.attention(c.rank().stream, args);
}

// gO, QKV (, KV), O, L -> gQKV (, gKV)
Status run_attention_grad(const OpContext& c) {
  const AttentionHeads heads = heads_of(c.chunk().attentions[static_cast<std::size_t>(c.op().attention)]);
  const bool apart = c.op().outputs.size() == 2;
  AttentionGradArgs args;
  args.shape = heads;
  args.queries = c.rows().queries();
  args.keys = c.rows().keys();
  args.go = c.in(0);
  MOESIM_ASSIGN(const StoredTensor first, c.out(0));
  if (!apart) {
    const QkvViews parts = split_qkv(c.in(1), heads);
    const QkvViews gradients = split_qkv(first.view, heads);
    args.q = parts.q, args.k = parts.k, args.v = parts.v;
    args.gq = gradients.q, args.gk = gradients.k, args.gv = gradients.v;
  } else {
    MOESIM_ASSIGN(const StoredTensor second, c.out(1));
    const KvViews parts = split_kv(c.in(2), heads);
    const KvViews gradients = split_kv(second.view, heads);
    args.q = c.in(1), args.k = parts.k, args.v = parts.v;
    args.gq = first.view, args.gk = gradients.k, args.gv = gradients.v;
  }
  args.o = c.in(apart ? 3 : 2);
  args.lse = c.in(apart ? 4 : 3);
  return c.rank().backend.attention_grad(c.rank().stream, args);
}

// Rows in the format that they travel in.
Status run_compress(const OpContext& c) {
  MOESIM_ASSIGN(const StoredTensor packed, c.out(0));
  if (c.op().outputs.size() == 1) return c.rank().backend.cast(c.rank().stream, {c.in(0), packed.view});
  MOESIM_ASSIGN(const StoredTensor scales, c.out(1));
  return c.rank().backend.to_fp8(c.rank().stream, {c.in(0), packed.view, scales.view});
}

Status run_decompress(const OpContext& c) {
  MOESIM_ASSIGN(const StoredTensor y, c.out(0));
  if (c.op().inputs.size() == 1) return c.rank().backend.cast(c.rank().stream, {c.in(0), y.view});
  return c.rank().backend.from_fp8(c.rank().stream, {c.in(0), c.in(1), y.view});
}

ActivationKind activation_kind(const OpContext& c, std::int64_t wide, std::int64_t narrow) {
  return wide == 2 * narrow ? ActivationKind::kSwiGlu : c.rank().settings.ungated;
}

Status run_activation(const OpContext& c) {
  MOESIM_ASSIGN(const StoredTensor y, c.out(0));
  ActivationArgs args;
  args.x = c.in(0);
  args.kind = activation_kind(c, args.x.columns, y.view.columns);
  if (c.op().inputs.size() > 1) args.row_weights = c.in(1);
  args.y = y.view;
  return c.rank().backend.activation(c.rank().stream, args);
}

Status run_activation_grad(const OpContext& c) {
  MOESIM_ASSIGN(const StoredTensor gx, c.out(0));
  ActivationGradArgs args;
  args.gy = c.in(0);
  args.x = c.in(1);
  args.kind = activation_kind(c, args.x.columns, args.gy.columns);
  args.gx = gx.view;
  if (c.op().inputs.size() > 2) {
    MOESIM_ASSIGN(const StoredTensor gw, c.out(1));
    args.row_weights = c.in(2);
    args.g_row_weights = gw.view;
  }
  return c.rank().backend.activation_grad(c.rank().stream, args);
}

struct VocabularyShard {
  std::int64_t first = 0;
  std::int64_t valid = 0;
};
VocabularyShard vocabulary_shard(const OpContext& c, std::int64_t columns) {
  const std::int64_t first = c.rank().at.tp * columns;
  return {first, std::clamp<std::int64_t>(c.rank().program.model.vocab - first, 0, columns)};
}

Status run_cross_entropy(const OpContext& c) {
  RankContext& rank = c.rank();
  MOESIM_ASSIGN(const StoredTensor statistics, c.out(0));
  MatrixView logits = c.in(0);
  if (c.op().outputs.size() > 1) {  // narrow logits: the loss and its gradient read a copy in FP32
    MOESIM_ASSIGN(const StoredTensor wide, c.out(1));
    MOESIM_TRY(rank.backend.cast(rank.stream, {logits, wide.view}));
    logits = wide.view;
  }
  const VocabularyShard shard = vocabulary_shard(c, logits.columns);
  const IndexView labels = index_view(c.rows().labels);
  MOESIM_TRY(rank.backend.cross_entropy(rank.stream, {logits, labels, shard.first, shard.valid, statistics.view}));
  if (rank.program.plan.sizes().tp > 1) return {};  // the loss follows from the statistics of all shards
  return rank.backend.loss_sum(rank.stream, {statistics.view, labels, rank.loss_sum->as<double>()});
}

Status run_cross_entropy_grad(const OpContext& c) {
  const Plan& plan = c.rank().program.plan;
  MOESIM_ASSIGN(const StoredTensor glogits, c.out(0));
  const MatrixView logits = c.in(0);
  const VocabularyShard shard = vocabulary_shard(c, logits.columns);
  const auto tokens = static_cast<double>(plan.global_batch) * static_cast<double>(plan.seq_length);
  return c.rank().backend.cross_entropy_grad(c.rank().stream,
                                             {logits, index_view(c.rows().labels), shard.first, shard.valid, c.in(1),
                                              static_cast<float>(1.0 / tokens), glogits.view});
}

}  // namespace

Status run_compute(const OpContext& c) {
  MOESIM_TRY(c.check_inputs());
  switch (c.op().kind) {
    case OpKind::kEmbedding: return run_embedding(c);
    case OpKind::kEmbeddingGrad: return run_embedding_grad(c);
    case OpKind::kNorm: return run_norm(c);
    case OpKind::kNormGrad: return run_norm_grad(c);
    case OpKind::kGemm:
    case OpKind::kGemmDgrad:
    case OpKind::kGemmWgrad: return run_linear(c);
    case OpKind::kGroupedGemm:
    case OpKind::kGroupedGemmDgrad:
    case OpKind::kGroupedGemmWgrad: return run_experts(c);
    case OpKind::kRotary: return run_rotary(c);
    case OpKind::kRotaryGrad: return run_rotary_grad(c);
    case OpKind::kAttention: return run_attention(c);
    case OpKind::kAttentionGrad: return run_attention_grad(c);
    case OpKind::kActivation: return run_activation(c);
    case OpKind::kActivationGrad: return run_activation_grad(c);
    case OpKind::kAdd: {
      if (c.op().inputs.size() == 0) return add_tied_gradients(c);
      MOESIM_ASSIGN(const StoredTensor y, c.out(0));
      return c.rank().backend.add(c.rank().stream, {c.in(0), c.in(1), y.view});
    }
    case OpKind::kCompress: return run_compress(c);
    case OpKind::kDecompress: return run_decompress(c);
    case OpKind::kScale: {
      MOESIM_ASSIGN(const StoredTensor y, c.out(0));
      MOESIM_TRY(c.rank().backend.copy(c.rank().stream, y.view.data, c.in(0).data, y.buffer->size()));
      // Forward nothing but a copy (ChunkBuilder::scale_gradient).
      if (c.op().factor == 1) return {};
      return c.rank().backend.scale(c.rank().stream, {y.view, c.op().factor});
    }
    case OpKind::kCrossEntropy: return run_cross_entropy(c);
    case OpKind::kCrossEntropyGrad: return run_cross_entropy_grad(c);
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
    case OpKind::kTakeShare: return run_routing(c);
    case OpKind::kAddExpertGrads: return add_expert_grads(c);
    case OpKind::kOptimizerStep: return run_optimizer(c);
    default:
      return fail(ErrorKind::kInternal, fmt::format("{} {} is not executed", op_kind_name(c.op().kind), c.op().name));
  }
}

}  // namespace moesim
