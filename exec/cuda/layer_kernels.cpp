// The kernels of transformer layers, and passes over elements.
#include <cmath>

#include "exec/compute/kernel_checks.hpp"
#include "exec/cuda/cuda_backend.hpp"
#include "exec/cuda/kernels/activation.hpp"
#include "exec/cuda/kernels/attention.hpp"
#include "exec/cuda/kernels/cross_entropy.hpp"
#include "exec/cuda/kernels/elementwise.hpp"
#include "exec/cuda/kernels/embedding.hpp"
#include "exec/cuda/kernels/fp8_rows.hpp"
#include "exec/cuda/kernels/geometry.hpp"
#include "exec/cuda/kernels/norm.hpp"
#include "exec/cuda/kernels/rotary.hpp"
#include "exec/cuda/operands.hpp"
#include "exec/cuda/scratch.hpp"

namespace moesim {
namespace {

Status not_supported(std::string what) {
  return fail(ErrorKind::kUsage, "the GPU kernels cannot do this: " + what, {}, "--backend cpu can");
}

gpu::Activation kind_of(ActivationKind kind) {
  switch (kind) {
    case ActivationKind::kSwiGlu: return gpu::Activation::kSwiGlu;
    case ActivationKind::kSilu: return gpu::Activation::kSilu;
    case ActivationKind::kGelu: break;
  }
  return gpu::Activation::kGelu;
}

gpu::Rotary rotary_of(const RotaryShape& s, const IndexView& positions, const std::optional<MatrixView>& q_norm,
                      const std::optional<MatrixView>& k_norm) {
  return {.q_heads = s.q_heads,
          .k_heads = s.k_heads,
          .head_dim = s.head_dim,
          .rotary_dim = s.rotary_dim,
          .theta = s.theta,
          .epsilon = s.norm_epsilon,
          .positions = positions.data,
          .q_norm = operand(q_norm),
          .k_norm = operand(k_norm)};
}

Status check_limits(const RotaryShape& s) {
  if (s.rotary_dim > 2 * gpu::kMostRotaryPairs) return not_supported("more than 2048 columns of a head that turn");
  if (s.q_heads + s.k_heads > gpu::kMostNormedHeads) return not_supported("more than 1024 heads");
  return {};
}

Status check_limits(const AttentionHeads& s) {
  if (s.head_dim > gpu::kMostHeadColumns || s.value_head_dim > gpu::kMostHeadColumns)
    return not_supported("attention heads of more than 256 columns");
  if (s.heads > gpu::kMostHeads) return not_supported("more than 65535 heads");
  return {};
}

gpu::Places places_of(const TokenPlaces& places) {
  return {places.positions.data, places.sequences.data, places.positions.count};
}

// The shape, with room for the tiles' spans, which are found.
Result<gpu::Attention> attention_of(const AttentionHeads& s, const TokenPlaces& queries, const TokenPlaces& keys,
                                    Scratch& scratch, DeviceStream stream) {
  gpu::Attention shape{.heads = s.heads,
                       .kv_heads = s.kv_heads,
                       .head_dim = s.head_dim,
                       .value_head_dim = s.value_head_dim,
                       .window = s.window,
                       .scale = 1.0F / std::sqrt(static_cast<float>(s.head_dim)),
                       .queries = places_of(queries),
                       .keys = places_of(keys)};
  const auto tiles = [](const gpu::Places& places) { return gpu::parts(places.count, gpu::kAttentionTile); };
  MOESIM_ASSIGN(shape.query_spans, scratch.take<gpu::TileSpan>(tiles(shape.queries)));
  MOESIM_ASSIGN(shape.key_spans, scratch.take<gpu::TileSpan>(tiles(shape.keys)));
  gpu::find_spans(stream.handle, shape);
  return shape;
}

Result<gpu::Operand> scratch_matrix(Scratch& scratch, std::int64_t rows, std::int64_t columns) {
  MOESIM_ASSIGN(float* const data, scratch.take<float>(rows * columns));
  return gpu::Operand{data, gpu::Element::kFp32, rows, columns, columns};
}

}  // namespace

Status CudaBackend::norm(DeviceStream stream, const NormArgs& args) {
  MOESIM_TRY(check_operands(args));
  MOESIM_TRY(select());
  gpu::norm(stream.handle, operand(args.x), operand(args.weight), operand(args.y), args.epsilon);
  return launched("norm");
}

Status CudaBackend::norm_grad(DeviceStream stream, const NormGradArgs& args) {
  MOESIM_TRY(check_operands(args));
  MOESIM_TRY(select());
  Scratch scratch(stream.handle);
  MOESIM_ASSIGN(float* const partials, scratch.take<float>(gpu::norm_grad_parts(args.x.rows) * args.weight.columns));
  gpu::norm_grad(stream.handle, operand(args.gy), operand(args.x), operand(args.weight), operand(args.gx),
                 operand(args.gw), partials, args.epsilon);
  return launched("norm_grad");
}

Status CudaBackend::rotary(DeviceStream stream, const RotaryArgs& args) {
  MOESIM_TRY(check_operands(args));
  MOESIM_TRY(check_limits(args.shape));
  MOESIM_TRY(select());
  gpu::rotary(stream.handle, rotary_of(args.shape, args.positions, args.q_norm, args.k_norm), operand(args.x),
              operand(args.y));
  return launched("rotary");
}

Status CudaBackend::rotary_grad(DeviceStream stream, const RotaryGradArgs& args) {
  MOESIM_TRY(check_operands(args));
  MOESIM_TRY(check_limits(args.shape));
  MOESIM_TRY(select());
  const std::int64_t widths = (args.q_norm ? args.q_norm->columns : 0) + (args.k_norm ? args.k_norm->columns : 0);
  Scratch scratch(stream.handle);
  MOESIM_ASSIGN(float* const partials, scratch.take<float>(gpu::rotary_grad_parts(args.gy.rows) * widths));
  gpu::rotary_grad(stream.handle, rotary_of(args.shape, args.positions, args.q_norm, args.k_norm), operand(args.gy),
                   operand(args.x), operand(args.gx), operand(args.gq_norm), operand(args.gk_norm), partials);
  return launched("rotary_grad");
}

Status CudaBackend::attention(DeviceStream stream, const AttentionArgs& args) {
  MOESIM_TRY(check_operands(args));
  MOESIM_TRY(check_limits(args.shape));
  MOESIM_TRY(select());
  Scratch scratch(stream.handle);
  MOESIM_ASSIGN(const gpu::Attention shape, attention_of(args.shape, args.queries, args.keys, scratch, stream));
  gpu::attention(stream.handle, shape, operand(args.q), operand(args.k), operand(args.v), operand(args.o),
                 operand(args.lse));
  return launched("attention");
}

Status CudaBackend::attention_grad(DeviceStream stream, const AttentionGradArgs& args) {
  MOESIM_TRY(check_operands(args));
  MOESIM_TRY(check_limits(args.shape));
  MOESIM_TRY(select());
  Scratch scratch(stream.handle);
  MOESIM_ASSIGN(const gpu::Attention shape, attention_of(args.shape, args.queries, args.keys, scratch, stream));
  gpu::AttentionGradients x{.go = operand(args.go),
                            .q = operand(args.q),
                            .k = operand(args.k),
                            .v = operand(args.v),
                            .o = operand(args.o),
                            .lse = operand(args.lse),
                            .along = {},
                            .gq = operand(args.gq),
                            .gk = operand(args.gk),
                            .gv = operand(args.gv)};
  MOESIM_ASSIGN(x.along, scratch_matrix(scratch, args.q.rows, args.shape.heads));
  if (!args.lse) {
    MOESIM_ASSIGN(x.lse, scratch_matrix(scratch, args.q.rows, args.shape.heads));
    gpu::attention(stream.handle, shape, x.q, x.k, x.v, {}, x.lse);
  }
  gpu::attention_grad(stream.handle, shape, x);
  return launched("attention_grad");
}

Status CudaBackend::activation(DeviceStream stream, const ActivationArgs& args) {
  MOESIM_TRY(check_operands(args));
  MOESIM_TRY(select());
  gpu::activation(stream.handle, kind_of(args.kind), operand(args.x), operand(args.row_weights), operand(args.y));
  return launched("activation");
}

Status CudaBackend::activation_grad(DeviceStream stream, const ActivationGradArgs& args) {
  MOESIM_TRY(check_operands(args));
  MOESIM_TRY(select());
  gpu::activation_grad(stream.handle, kind_of(args.kind), operand(args.gy), operand(args.x), operand(args.row_weights),
                       operand(args.gx), operand(args.g_row_weights));
  return launched("activation_grad");
}

Status CudaBackend::embedding(DeviceStream stream, const EmbeddingArgs& args) {
  MOESIM_TRY(check_operands(args));
  MOESIM_TRY(select());
  gpu::embedding(stream.handle, args.tokens.data, args.first_row, operand(args.table), operand(args.y));
  return launched("embedding");
}

Status CudaBackend::embedding_grad(DeviceStream stream, const EmbeddingGradArgs& args) {
  MOESIM_TRY(check_operands(args));
  MOESIM_TRY(select());
  gpu::embedding_grad(stream.handle, args.tokens.data, args.first_row, operand(args.gy), operand(args.gtable));
  return launched("embedding_grad");
}

Status CudaBackend::cross_entropy(DeviceStream stream, const CrossEntropyArgs& args) {
  MOESIM_TRY(check_operands(args));
  MOESIM_TRY(select());
  gpu::cross_entropy(stream.handle, {args.labels.data, args.first_column, args.valid_columns}, operand(args.logits),
                     operand(args.statistics));
  return launched("cross_entropy");
}

Status CudaBackend::combine_loss(DeviceStream stream, const CombineLossArgs& args) {
  MOESIM_TRY(check_operands(args));
  MOESIM_TRY(select());
  gpu::Combine how = gpu::Combine::kFirst;
  for (const MatrixView& part : args.parts) {
    gpu::combine_loss(stream.handle, operand(part), operand(args.combined), how);
    how = gpu::Combine::kNext;
  }
  return launched("combine_loss");
}

Status CudaBackend::loss_sum(DeviceStream stream, const LossSumArgs& args) {
  MOESIM_TRY(check_operands(args));
  MOESIM_TRY(select());
  gpu::loss_sum(stream.handle, args.labels.data, operand(args.statistics), args.sum);
  return launched("loss_sum");
}

Status CudaBackend::cross_entropy_grad(DeviceStream stream, const CrossEntropyGradArgs& args) {
  MOESIM_TRY(check_operands(args));
  MOESIM_TRY(select());
  gpu::cross_entropy_grad(stream.handle, {args.labels.data, args.first_column, args.valid_columns},
                          operand(args.logits), operand(args.statistics), args.scale, operand(args.glogits));
  return launched("cross_entropy_grad");
}

Status CudaBackend::add(DeviceStream stream, const AddArgs& args) {
  MOESIM_TRY(check_operands(args));
  MOESIM_TRY(select());
  gpu::add(stream.handle, operand(args.a), operand(args.b), operand(args.y));
  return launched("add");
}

Status CudaBackend::cast(DeviceStream stream, const CastArgs& args) {
  MOESIM_TRY(check_operands(args));
  MOESIM_TRY(select());
  gpu::cast(stream.handle, operand(args.x), operand(args.y));
  return launched("cast");
}

Status CudaBackend::to_fp8(DeviceStream stream, const ToFp8Args& args) {
  MOESIM_TRY(check_operands(args));
  MOESIM_TRY(select());
  gpu::to_fp8(stream.handle, operand(args.x), operand(args.y), operand(args.scales));
  return launched("to_fp8");
}

Status CudaBackend::from_fp8(DeviceStream stream, const FromFp8Args& args) {
  MOESIM_TRY(check_operands(args));
  MOESIM_TRY(select());
  gpu::from_fp8(stream.handle, operand(args.x), operand(args.scales), operand(args.y));
  return launched("from_fp8");
}

Status CudaBackend::scale(DeviceStream stream, const ScaleArgs& args) {
  MOESIM_TRY(check_operands(args));
  MOESIM_TRY(select());
  gpu::scale(stream.handle, operand(args.x), args.factor);
  return launched("scale");
}

Status CudaBackend::square_sum(DeviceStream stream, const SquareSumArgs& args) {
  MOESIM_TRY(check_operands(args));
  MOESIM_TRY(select());
  Scratch scratch(stream.handle);
  MOESIM_ASSIGN(double* const partials, scratch.take<double>(gpu::kSquareSumParts));
  gpu::square_sum(stream.handle, operand(args.x), partials, args.sum);
  return launched("square_sum");
}

Status CudaBackend::adamw(DeviceStream stream, const AdamWArgs& args) {
  MOESIM_TRY(check_operands(args));
  MOESIM_TRY(select());
  const AdamWSettings& s = args.settings;
  const double t = static_cast<double>(args.step);
  const auto share = [t](float beta) {
    return static_cast<float>(1.0 / (1.0 - std::pow(static_cast<double>(beta), t)));
  };
  gpu::adamw(stream.handle,
             {.rate = s.rate,
              .beta1 = s.beta1,
              .beta2 = s.beta2,
              .epsilon = s.epsilon,
              .weight_decay = s.weight_decay,
              .gradient_scale = args.gradient_scale,
              .first_share = share(s.beta1),
              .second_share = share(s.beta2)},
             operand(args.gradient), operand(args.master), operand(args.first_moment), operand(args.second_moment),
             operand(args.parameter));
  return launched("adamw");
}

}  // namespace moesim
