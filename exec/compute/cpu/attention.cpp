// For each head and block of queries: scores against all visible keys by one product per key block, softmax of whole rows
// (no rescaling of partial sums), then the sum of values.
#include <algorithm>

#include "exec/compute/cpu/attention_blocks.hpp"
#include "exec/compute/cpu/blas.hpp"
#include "exec/compute/cpu/cpu_backend.hpp"
#include "exec/compute/cpu/fp32_access.hpp"
#include "exec/compute/cpu/row_math.hpp"
#include "exec/compute/kernel_checks.hpp"

namespace moesim {

Status CpuBackend::attention(DeviceStream, const AttentionArgs& args) {
  const AttentionHeads& s = args.shape;
  MOESIM_TRY(check_operands(args));
  const Fp32Input q(args.q);
  const Fp32Input k(args.k);
  const Fp32Input v(args.v);
  Fp32Output o(args.o);
  BlockScores blocks(s, args.queries, args.keys);
  std::vector<float> scores(static_cast<std::size_t>(kQueryBlock * blocks.most_columns()));
  for (const TokenBlock& rows : blocks.query_blocks()) {
    blocks.choose(rows);
    for (std::int64_t head = 0; head < s.heads; ++head) {
      const std::int64_t kv_head = head * s.kv_heads / s.heads;
      blocks.compute(q.row(rows.first) + head * s.head_dim, q.stride(), k.row(0) + kv_head * s.head_dim, k.stride(),
                     scores.data());
      for (std::int64_t i = 0; i < rows.rows; ++i) {
        const float lse = softmax_row(scores.data() + i * blocks.columns(), blocks.columns());
        if (args.lse) fp32_row(*args.lse, rows.first + i)[head] = lse;
      }
      float* out = o.row(rows.first) + head * s.value_head_dim;
      for (std::int64_t i = 0; i < rows.rows; ++i) std::fill_n(out + i * o.stride(), s.value_head_dim, 0.0F);
      for (const VisibleBlock& block : blocks.visible())
        sgemm({.m = rows.rows,
               .n = s.value_head_dim,
               .k = block.keys->rows,
               .a = scores.data() + block.column,
               .a_stride = blocks.columns(),
               .b = v.row(block.keys->first) + kv_head * s.value_head_dim,
               .b_stride = v.stride(),
               .beta = 1.0F,
               .c = out,
               .c_stride = o.stride()});
    }
  }
  o.store();
  return {};
}

}  // namespace moesim
