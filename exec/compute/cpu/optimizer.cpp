#include <cmath>

#include "exec/compute/cpu/cpu_backend.hpp"
#include "exec/compute/cpu/fp32_access.hpp"
#include "exec/compute/kernel_checks.hpp"

namespace moesim {

Status CpuBackend::adamw(DeviceStream, const AdamWArgs& args) {
  const AdamWSettings& s = args.settings;
  const std::int64_t rows = args.master.rows;
  const std::int64_t columns = args.master.columns;
  MOESIM_TRY(check_operands(args));
  const double t = static_cast<double>(args.step);
  const auto first_share = static_cast<float>(1.0 / (1.0 - std::pow(static_cast<double>(s.beta1), t)));
  const auto second_share = static_cast<float>(1.0 / (1.0 - std::pow(static_cast<double>(s.beta2), t)));
  RowWriter parameter(args.parameter);
  for (std::int64_t r = 0; r < rows; ++r) {
    const float* gradient = fp32_row(args.gradient, r);
    float* master = fp32_row(args.master, r);
    float* m = fp32_row(args.first_moment, r);
    float* v = fp32_row(args.second_moment, r);
    float* out = parameter.begin(r);
    for (std::int64_t i = 0; i < columns; ++i) {
      const float g = gradient[i] * args.gradient_scale;
      m[i] = s.beta1 * m[i] + (1.0F - s.beta1) * g;
      v[i] = s.beta2 * v[i] + (1.0F - s.beta2) * g * g;
      const float direction = m[i] * first_share / (std::sqrt(v[i] * second_share) + s.epsilon);
      master[i] -= s.rate * (direction + s.weight_decay * master[i]);
      out[i] = master[i];
    }
    parameter.commit();
  }
  return {};
}

}  // namespace moesim
