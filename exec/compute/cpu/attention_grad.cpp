// Gradient of attention (FlashAttention, arXiv 2205.14135, appendix B.2). With P the probabilities of a head,
//   gV += P^T gO,   gP = gO V^T,   gS = P * (gP - rowsum(P * gP)),   gQ = gS K / sqrt(d),   gK += gS^T Q / sqrt(d).
// Whole rows of P and gP are at hand here, so their product is summed instead of gO * O, which is the same but for the
// rounding of a stored O.
#include <algorithm>
#include <cmath>

#include "exec/compute/cpu/attention_blocks.hpp"
#include "exec/compute/cpu/blas.hpp"
#include "exec/compute/cpu/cpu_backend.hpp"
#include "exec/compute/cpu/fp32_access.hpp"
#include "exec/compute/cpu/row_math.hpp"
#include "exec/compute/kernel_checks.hpp"

namespace moesim {
namespace {

// One head of one block of queries, with the operands as FP32.
struct HeadBlock {
  const AttentionHeads& shape;
  const BlockScores& blocks;
  const TokenBlock& rows;
  std::int64_t head;
  std::int64_t kv_head;
};

struct GradOperands {
  Fp32Input go, q, k, v;
  Fp32Output gq, gk, gv;
};

// gP = gO V^T, then in place gS / sqrt(d).
void score_gradients(const HeadBlock& h, const GradOperands& x, const float* probabilities, float* gradients) {
  const AttentionHeads& s = h.shape;
  const float scale = 1.0F / std::sqrt(static_cast<float>(s.head_dim));
  const float* go = x.go.row(h.rows.first) + h.head * s.value_head_dim;
  for (const VisibleBlock& block : h.blocks.visible())
    sgemm({.m = h.rows.rows,
           .n = block.keys->rows,
           .k = s.value_head_dim,
           .a = go,
           .a_stride = x.go.stride(),
           .b = x.v.row(block.keys->first) + h.kv_head * s.value_head_dim,
           .b_stride = x.v.stride(),
           .b_transposed = Transpose::kYes,
           .c = gradients + block.column,
           .c_stride = h.blocks.columns()});
  for (std::int64_t i = 0; i < h.rows.rows; ++i) {
    const float* p = probabilities + i * h.blocks.columns();
    float* g = gradients + i * h.blocks.columns();
    const float along = dot(p, g, h.blocks.columns());
    for (std::int64_t j = 0; j < h.blocks.columns(); ++j) g[j] = p[j] * (g[j] - along) * scale;
  }
}

void add_gradients(const HeadBlock& h, const GradOperands& x, const float* probabilities, const float* gradients) {
  const AttentionHeads& s = h.shape;
  const std::int64_t columns = h.blocks.columns();
  float* gq = x.gq.row(h.rows.first) + h.head * s.head_dim;
  for (const VisibleBlock& block : h.blocks.visible()) {
    const std::int64_t keys = block.keys->first;
    sgemm({.m = h.rows.rows,
           .n = s.head_dim,
           .k = block.keys->rows,
           .a = gradients + block.column,
           .a_stride = columns,
           .b = x.k.row(keys) + h.kv_head * s.head_dim,
           .b_stride = x.k.stride(),
           .beta = 1.0F,
           .c = gq,
           .c_stride = x.gq.stride()});
    sgemm({.m = block.keys->rows,
           .n = s.head_dim,
           .k = h.rows.rows,
           .a = gradients + block.column,
           .a_stride = columns,
           .a_transposed = Transpose::kYes,
           .b = x.q.row(h.rows.first) + h.head * s.head_dim,
           .b_stride = x.q.stride(),
           .beta = 1.0F,
           .c = x.gk.row(keys) + h.kv_head * s.head_dim,
           .c_stride = x.gk.stride()});
    sgemm({.m = block.keys->rows,
           .n = s.value_head_dim,
           .k = h.rows.rows,
           .a = probabilities + block.column,
           .a_stride = columns,
           .a_transposed = Transpose::kYes,
           .b = x.go.row(h.rows.first) + h.head * s.value_head_dim,
           .b_stride = x.go.stride(),
           .beta = 1.0F,
           .c = x.gv.row(keys) + h.kv_head * s.value_head_dim,
           .c_stride = x.gv.stride()});
  }
}

}  // namespace

Status CpuBackend::attention_grad(DeviceStream, const AttentionGradArgs& args) {
  const AttentionHeads& s = args.shape;
  MOESIM_TRY(check_operands(args));
  GradOperands x{Fp32Input(args.go),  Fp32Input(args.q),   Fp32Input(args.k),  Fp32Input(args.v),
                 Fp32Output(args.gq), Fp32Output(args.gk), Fp32Output(args.gv)};
  x.gq.fill_zero();
  x.gk.fill_zero();
  x.gv.fill_zero();
  BlockScores blocks(s, args.queries, args.keys);
  std::vector<float> probabilities(static_cast<std::size_t>(kQueryBlock * blocks.most_columns()));
  std::vector<float> gradients(probabilities.size());
  for (const TokenBlock& rows : blocks.query_blocks()) {
    blocks.choose(rows);
    for (std::int64_t head = 0; head < s.heads; ++head) {
      const HeadBlock h{s, blocks, rows, head, head * s.kv_heads / s.heads};
      blocks.compute(x.q.row(rows.first) + head * s.head_dim, x.q.stride(), x.k.row(0) + h.kv_head * s.head_dim,
                     x.k.stride(), probabilities.data());
      for (std::int64_t i = 0; i < rows.rows; ++i) {
        float* row = probabilities.data() + i * blocks.columns();
        if (args.lse)
          to_probabilities(row, blocks.columns(), fp32_row(*args.lse, rows.first + i)[head]);
        else
          softmax_row(row, blocks.columns());
      }
      score_gradients(h, x, probabilities.data(), gradients.data());
      add_gradients(h, x, probabilities.data(), gradients.data());
    }
  }
  x.gq.store();
  x.gk.store();
  x.gv.store();
  return {};
}

}  // namespace moesim
