#include <algorithm>

#include "exec/compute/cpu/cpu_backend.hpp"
#include "exec/compute/cpu/fp32_access.hpp"
#include "exec/compute/cpu/row_math.hpp"
#include "exec/compute/kernel_checks.hpp"

namespace moesim {

Status CpuBackend::add(DeviceStream, const AddArgs& args) {
  const std::int64_t rows = args.y.rows;
  const std::int64_t columns = args.y.columns;
  MOESIM_TRY(check_operands(args));
  RowReader as(args.a);
  RowReader bs(args.b);
  RowWriter ys(args.y);
  for (std::int64_t r = 0; r < rows; ++r) {
    const float* a = as(r);
    const float* b = bs(r);
    float* y = ys.begin(r);
    for (std::int64_t i = 0; i < columns; ++i) y[i] = a[i] + b[i];
    ys.commit();
  }
  return {};
}

Status CpuBackend::cast(DeviceStream, const CastArgs& args) {
  const std::int64_t rows = args.y.rows;
  const std::int64_t columns = args.y.columns;
  MOESIM_TRY(check_operands(args));
  RowReader xs(args.x);
  RowWriter ys(args.y);
  for (std::int64_t r = 0; r < rows; ++r) {
    std::copy_n(xs(r), columns, ys.begin(r));
    ys.commit();
  }
  return {};
}

Status CpuBackend::scale(DeviceStream, const ScaleArgs& args) {
  MOESIM_TRY(check_operands(args));
  RowReader xs(args.x);
  RowWriter ys(args.x);
  for (std::int64_t r = 0; r < args.x.rows; ++r) {
    const float* x = xs(r);
    float* y = ys.begin(r);
    for (std::int64_t i = 0; i < args.x.columns; ++i) y[i] = x[i] * args.factor;
    ys.commit();
  }
  return {};
}

Status CpuBackend::square_sum(DeviceStream, const SquareSumArgs& args) {
  MOESIM_TRY(check_operands(args));
  constexpr std::int64_t kPiece = 1024;  // FP32 within a piece, double across: a flat bucket is one row of millions
  RowReader xs(args.x);
  double sum = 0.0;
  for (std::int64_t r = 0; r < args.x.rows; ++r) {
    const float* x = xs(r);
    for (std::int64_t i = 0; i < args.x.columns; i += kPiece)
      sum += static_cast<double>(dot(x + i, x + i, std::min(kPiece, args.x.columns - i)));
  }
  *args.sum += sum;
  return {};
}

}  // namespace moesim
