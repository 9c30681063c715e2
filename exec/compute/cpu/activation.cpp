#include <cmath>

#include "exec/compute/cpu/cpu_backend.hpp"
#include "exec/compute/cpu/fast_exp.hpp"
#include "exec/compute/cpu/fp32_access.hpp"
#include "exec/compute/kernel_checks.hpp"

namespace moesim {
namespace {

float sigmoid(float x) { return 1.0F / (1.0F + fast_exp(-x)); }

struct Silu {
  static float value(float x) { return x * sigmoid(x); }
  static float slope(float x) {
    const float s = sigmoid(x);
    return s * (1.0F + x * (1.0F - s));
  }
};

struct Gelu {
  static float below(float x) { return 0.5F * (1.0F + std::erf(x * 0.70710678F)); }  // the normal distribution
  static float value(float x) { return x * below(x); }
  static float slope(float x) { return below(x) + x * 0.39894228F * fast_exp(-0.5F * x * x); }
};

template <class F>
void ungated(const float* x, std::int64_t n, float weight, float* y) {
  for (std::int64_t i = 0; i < n; ++i) y[i] = F::value(x[i]) * weight;
}

// Returns the gradient of the row's weight.
template <class F>
float ungated_grad(const float* gy, const float* x, std::int64_t n, float weight, float* gx) {
  float along = 0.0F;
  for (std::int64_t i = 0; i < n; ++i) {
    along += gy[i] * F::value(x[i]);
    gx[i] = gy[i] * weight * F::slope(x[i]);
  }
  return along;
}

void swiglu(const float* x, std::int64_t n, float weight, float* y) {
  const float* up = x + n;
  for (std::int64_t i = 0; i < n; ++i) y[i] = Silu::value(x[i]) * up[i] * weight;
}

float swiglu_grad(const float* gy, const float* x, std::int64_t n, float weight, float* gx) {
  const float* up = x + n;
  float along = 0.0F;
  for (std::int64_t i = 0; i < n; ++i) {
    const float value = Silu::value(x[i]);
    along += gy[i] * value * up[i];
    gx[i] = gy[i] * weight * up[i] * Silu::slope(x[i]);
    gx[n + i] = gy[i] * weight * value;
  }
  return along;
}

}  // namespace

Status CpuBackend::activation(DeviceStream, const ActivationArgs& args) {
  const std::int64_t rows = args.y.rows;
  const std::int64_t columns = args.y.columns;
  MOESIM_TRY(check_operands(args));
  RowReader xs(args.x);
  RowWriter ys(args.y);
  for (std::int64_t r = 0; r < rows; ++r) {
    const float weight = args.row_weights ? *fp32_row(*args.row_weights, r) : 1.0F;
    const float* x = xs(r);
    float* y = ys.begin(r);
    switch (args.kind) {
      case ActivationKind::kSwiGlu: swiglu(x, columns, weight, y); break;
      case ActivationKind::kSilu: ungated<Silu>(x, columns, weight, y); break;
      case ActivationKind::kGelu: ungated<Gelu>(x, columns, weight, y); break;
    }
    ys.commit();
  }
  return {};
}

Status CpuBackend::activation_grad(DeviceStream, const ActivationGradArgs& args) {
  const std::int64_t rows = args.gy.rows;
  const std::int64_t columns = args.gy.columns;
  MOESIM_TRY(check_operands(args));
  RowReader gys(args.gy);
  RowReader xs(args.x);
  RowWriter gxs(args.gx);
  for (std::int64_t r = 0; r < rows; ++r) {
    const float weight = args.row_weights ? *fp32_row(*args.row_weights, r) : 1.0F;
    const float* gy = gys(r);
    const float* x = xs(r);
    float* gx = gxs.begin(r);
    float gw = 0.0F;
    switch (args.kind) {
      case ActivationKind::kSwiGlu: gw = swiglu_grad(gy, x, columns, weight, gx); break;
      case ActivationKind::kSilu: gw = ungated_grad<Silu>(gy, x, columns, weight, gx); break;
      case ActivationKind::kGelu: gw = ungated_grad<Gelu>(gy, x, columns, weight, gx); break;
    }
    gxs.commit();
    if (args.g_row_weights) *fp32_row(*args.g_row_weights, r) = gw;
  }
  return {};
}

}  // namespace moesim
