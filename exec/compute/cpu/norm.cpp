#include <algorithm>

#include "exec/compute/cpu/cpu_backend.hpp"
#include "exec/compute/cpu/fp32_access.hpp"
#include "exec/compute/cpu/rms_norm.hpp"
#include "exec/compute/kernel_checks.hpp"

namespace moesim {

Status CpuBackend::norm(DeviceStream, const NormArgs& args) {
  const std::int64_t columns = args.x.columns;
  const std::int64_t covered = args.weight.columns;
  MOESIM_TRY(check_operands(args));
  const Fp32Input weight(args.weight);
  RowReader xs(args.x);
  RowWriter ys(args.y);
  for (std::int64_t r = 0; r < args.x.rows; ++r) {
    const float* x = xs(r);
    float* y = ys.begin(r);
    rms_norm_row(x, weight.row(0), covered, args.epsilon, y);
    std::copy(x + covered, x + columns, y + covered);
    ys.commit();
  }
  return {};
}

Status CpuBackend::norm_grad(DeviceStream, const NormGradArgs& args) {
  const std::int64_t columns = args.x.columns;
  const std::int64_t covered = args.weight.columns;
  MOESIM_TRY(check_operands(args));
  const Fp32Input weight(args.weight);
  float* gw = args.gw ? fp32_row(*args.gw, 0) : nullptr;
  RowReader xs(args.x);
  RowReader gys(args.gy);
  RowWriter gxs(args.gx);
  for (std::int64_t r = 0; r < args.x.rows; ++r) {
    const float* gy = gys(r);
    float* gx = gxs.begin(r);
    rms_norm_row_grad(gy, xs(r), weight.row(0), covered, args.epsilon, gx, gw);
    std::copy(gy + covered, gy + columns, gx + covered);
    gxs.commit();
  }
  return {};
}

}  // namespace moesim
