#include <cblas.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "exec/compute/cpu/blas.hpp"
#include "exec/compute/cpu/cpu_backend.hpp"
#include "exec/compute/cpu/fp32_access.hpp"
#include "exec/compute/kernel_checks.hpp"

namespace moesim {
namespace {

CBLAS_TRANSPOSE cblas_word(Transpose t) { return t == Transpose::kYes ? CblasTrans : CblasNoTrans; }

Status forward(std::string_view kernel, const MatrixView& x, const MatrixView& w, const MatrixView& y,
               std::span<const std::int64_t> group_rows) {
  const std::int64_t in = x.columns;
  const std::int64_t out = y.columns;
  MOESIM_TRY(check_forward({kernel, group_rows}, x, w, y));
  std::int64_t first = 0;
  std::int64_t group = 0;
  for (const std::int64_t rows : group_rows) {
    const std::int64_t g = group++;
    if (rows == 0) continue;
    const Fp32Input xs(row_range(x, first, rows));
    const Fp32Input ws(row_range(w, g * in, in));
    Fp32Output ys(row_range(y, first, rows));
    sgemm({.m = rows,
           .n = out,
           .k = in,
           .a = xs.row(0),
           .a_stride = xs.stride(),
           .b = ws.row(0),
           .b_stride = ws.stride(),
           .c = ys.row(0),
           .c_stride = ys.stride()});
    ys.store();
    first += rows;
  }
  return {};
}

Status input_gradient(std::string_view kernel, const MatrixView& gy, const MatrixView& w, const MatrixView& gx,
                      std::span<const std::int64_t> group_rows) {
  const std::int64_t in = gx.columns;
  const std::int64_t out = gy.columns;
  MOESIM_TRY(check_input_gradient({kernel, group_rows}, gy, w, gx));
  std::int64_t first = 0;
  std::int64_t group = 0;
  for (const std::int64_t rows : group_rows) {
    const std::int64_t g = group++;
    if (rows == 0) continue;
    const Fp32Input gys(row_range(gy, first, rows));
    const Fp32Input ws(row_range(w, g * in, in));
    Fp32Output gxs(row_range(gx, first, rows));
    sgemm({.m = rows,
           .n = in,
           .k = out,
           .a = gys.row(0),
           .a_stride = gys.stride(),
           .b = ws.row(0),
           .b_stride = ws.stride(),
           .b_transposed = Transpose::kYes,
           .c = gxs.row(0),
           .c_stride = gxs.stride()});
    gxs.store();
    first += rows;
  }
  return {};
}

Status weight_gradient(std::string_view kernel, const MatrixView& x, const MatrixView& gy, const MatrixView& gw,
                       std::span<const std::int64_t> group_rows, GradientSum sum) {
  const std::int64_t in = x.columns;
  const std::int64_t out = gy.columns;
  MOESIM_TRY(check_weight_gradient({kernel, group_rows}, x, gy, gw));
  std::int64_t first = 0;
  std::int64_t group = 0;
  for (const std::int64_t rows : group_rows) {
    const std::int64_t g = group++;
    if (rows == 0 && sum == GradientSum::kAdd) continue;
    const Fp32Input xs(row_range(x, first, rows));
    const Fp32Input gys(row_range(gy, first, rows));
    sgemm({.m = in,
           .n = out,
           .k = rows,
           .a = xs.row(0),
           .a_stride = xs.stride(),
           .a_transposed = Transpose::kYes,
           .b = gys.row(0),
           .b_stride = gys.stride(),
           .beta = sum == GradientSum::kAdd ? 1.0F : 0.0F,
           .c = fp32_row(gw, g * in),
           .c_stride = gw.row_stride});
    first += rows;
  }
  return {};
}

}  // namespace

void sgemm(const Sgemm& s) {
  if (s.m == 0 || s.n == 0) return;
  if (s.k == 0) {
    if (s.beta == 0.0F)
      for (std::int64_t r = 0; r < s.m; ++r) std::fill_n(s.c + r * s.c_stride, s.n, 0.0F);
    return;
  }
  const auto i = [](std::int64_t n) { return static_cast<blasint>(n); };
  cblas_sgemm(CblasRowMajor, cblas_word(s.a_transposed), cblas_word(s.b_transposed), i(s.m), i(s.n), i(s.k), s.alpha,
              s.a, i(s.a_stride), s.b, i(s.b_stride), s.beta, s.c, i(s.c_stride));
}

void set_blas_threads(int threads) { openblas_set_num_threads(threads); }

Status CpuBackend::gemm(DeviceStream, const GemmArgs& args) {
  const std::int64_t rows[] = {args.x.rows};
  return forward("gemm", args.x, args.w, args.y, rows);
}
Status CpuBackend::gemm_dgrad(DeviceStream, const GemmDgradArgs& args) {
  const std::int64_t rows[] = {args.gy.rows};
  return input_gradient("gemm_dgrad", args.gy, args.w, args.gx, rows);
}
Status CpuBackend::gemm_wgrad(DeviceStream, const GemmWgradArgs& args) {
  const std::int64_t rows[] = {args.x.rows};
  return weight_gradient("gemm_wgrad", args.x, args.gy, args.gw, rows, args.sum);
}
Status CpuBackend::grouped_gemm(DeviceStream, const GroupedGemmArgs& args) {
  return forward("grouped_gemm", args.x, args.w, args.y, args.group_rows);
}
Status CpuBackend::grouped_gemm_dgrad(DeviceStream, const GroupedGemmDgradArgs& args) {
  return input_gradient("grouped_gemm_dgrad", args.gy, args.w, args.gx, args.group_rows);
}
Status CpuBackend::grouped_gemm_wgrad(DeviceStream, const GroupedGemmWgradArgs& args) {
  return weight_gradient("grouped_gemm_wgrad", args.x, args.gy, args.gw, args.group_rows, args.sum);
}

}  // namespace moesim
