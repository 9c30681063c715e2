#include <algorithm>

#include "exec/compute/cpu/cpu_backend.hpp"
#include "exec/compute/cpu/fp32_access.hpp"
#include "exec/compute/kernel_checks.hpp"

namespace moesim {
namespace {

// The table's row of a token, or -1 where another shard holds it.
std::int64_t local_row(std::int32_t token, std::int64_t first_row, const MatrixView& table) {
  const std::int64_t row = token - first_row;
  return row >= 0 && row < table.rows ? row : -1;
}

}  // namespace

Status CpuBackend::embedding(DeviceStream, const EmbeddingArgs& args) {
  const std::int64_t columns = args.table.columns;
  MOESIM_TRY(check_operands(args));
  RowReader table(args.table);
  RowWriter ys(args.y);
  for (std::int64_t r = 0; r < args.y.rows; ++r) {
    const std::int64_t row = local_row(args.tokens.data[r], args.first_row, args.table);
    if (row >= 0)
      std::copy_n(table(row), columns, ys.begin(r));
    else
      std::fill_n(ys.begin(r), columns, 0.0F);
    ys.commit();
  }
  return {};
}

Status CpuBackend::embedding_grad(DeviceStream, const EmbeddingGradArgs& args) {
  const std::int64_t columns = args.gtable.columns;
  MOESIM_TRY(check_operands(args));
  RowReader gys(args.gy);
  for (std::int64_t r = 0; r < args.gy.rows; ++r) {
    const std::int64_t row = local_row(args.tokens.data[r], args.first_row, args.gtable);
    if (row < 0) continue;
    const float* gy = gys(r);
    float* sum = fp32_row(args.gtable, row);
    for (std::int64_t i = 0; i < columns; ++i) sum[i] += gy[i];
  }
  return {};
}

}  // namespace moesim
