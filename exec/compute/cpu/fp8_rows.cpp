#include "exec/compute/fp8.hpp"

#include <algorithm>
#include <cmath>

#include "exec/compute/cpu/cpu_backend.hpp"
#include "exec/compute/cpu/fp32_access.hpp"
#include "exec/compute/kernel_checks.hpp"

namespace moesim {
namespace {

std::uint8_t* codes_of(const MatrixView& view, std::int64_t row) {
  return static_cast<std::uint8_t*>(view.data) + row * view.row_stride;
}

}  // namespace

Status CpuBackend::to_fp8(DeviceStream, const ToFp8Args& args) {
  MOESIM_TRY(check_operands(args));
  RowReader xs(args.x);
  for (std::int64_t r = 0; r < args.x.rows; ++r) {
    const float* x = xs(r);
    std::uint8_t* codes = codes_of(args.y, r);
    float* scales = fp32_row(args.scales, r);
    for (std::int64_t first = 0; first < args.x.columns; first += kScaledColumns) {
      const std::int64_t end = std::min(first + kScaledColumns, args.x.columns);
      float most = 0.0F;
      for (std::int64_t i = first; i < end; ++i) most = std::fmax(most, std::fabs(x[i]));
      const float scale = fp8_scale(most);
      for (std::int64_t i = first; i < end; ++i) codes[i] = float_to_fp8(x[i] / scale);
      scales[first / kScaledColumns] = scale;
    }
  }
  return {};
}

Status CpuBackend::from_fp8(DeviceStream, const FromFp8Args& args) {
  MOESIM_TRY(check_operands(args));
  RowWriter ys(args.y);
  for (std::int64_t r = 0; r < args.y.rows; ++r) {
    const std::uint8_t* codes = codes_of(args.x, r);
    const float* scales = fp32_row(args.scales, r);
    float* y = ys.begin(r);
    for (std::int64_t i = 0; i < args.y.columns; ++i) y[i] = fp8_to_float(codes[i]) * scales[i / kScaledColumns];
    ys.commit();
  }
  return {};
}

}  // namespace moesim
