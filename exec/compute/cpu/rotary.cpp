#include <algorithm>
#include <cmath>
#include <vector>

#include "exec/compute/cpu/cpu_backend.hpp"
#include "exec/compute/cpu/fp32_access.hpp"
#include "exec/compute/cpu/rms_norm.hpp"
#include "exec/compute/kernel_checks.hpp"

namespace moesim {
namespace {

enum class Turn { kForward, kBack };

// Cosines and sines of one position at a time. Angles in double: at position 100 000 FP32 would be off by 0.005.
class Rotation {
 public:
  explicit Rotation(const RotaryShape& shape)
      : shape_(shape), pairs_(shape.rotary_dim / 2), frequencies_(pairs_), cosines_(pairs_), sines_(pairs_) {
    for (std::size_t i = 0; i < frequencies_.size(); ++i)
      frequencies_[i] = std::pow(shape.theta, -2.0 * static_cast<double>(i) / static_cast<double>(shape.rotary_dim));
  }

  void set(std::int32_t position, Turn turn) {
    for (std::size_t i = 0; i < frequencies_.size(); ++i) {
      const double angle = static_cast<double>(position) * frequencies_[i];
      cosines_[i] = static_cast<float>(std::cos(angle));
      sines_[i] = static_cast<float>(turn == Turn::kBack ? -std::sin(angle) : std::sin(angle));
    }
  }

  // Turns every q and k head of a row in place.
  void apply(float* row) const {
    for (std::int64_t head = 0; head < shape_.q_heads + shape_.k_heads; ++head) {
      float* low = row + head * shape_.head_dim;
      float* high = low + pairs_;
      for (std::int64_t i = 0; i < pairs_; ++i) {
        const float a = low[i];
        const float b = high[i];
        low[i] = a * cosines_[i] - b * sines_[i];
        high[i] = b * cosines_[i] + a * sines_[i];
      }
    }
  }

 private:
  RotaryShape shape_;
  std::int64_t pairs_;
  std::vector<double> frequencies_;
  std::vector<float> cosines_;
  std::vector<float> sines_;
};

// One of the two norms: `width` columns at a time over the columns of its heads.
class HeadNorm {
 public:
  HeadNorm(const std::optional<MatrixView>& weight, std::int64_t first_column, std::int64_t columns, float epsilon)
      : first_(first_column), columns_(weight ? columns : 0), epsilon_(epsilon) {
    if (!weight) return;
    width_ = weight->columns;
    const Fp32Input values(*weight);
    weight_.assign(values.row(0), values.row(0) + width_);
  }

  void apply(float* row) const {
    for (std::int64_t c = first_; c < first_ + columns_; c += width_)
      rms_norm_row(row + c, weight_.data(), width_, epsilon_, row + c);
  }
  void apply_gradient(const float* x, float* g, float* gw) const {
    for (std::int64_t c = first_; c < first_ + columns_; c += width_)
      rms_norm_row_grad(g + c, x + c, weight_.data(), width_, epsilon_, g + c, gw);
  }

 private:
  std::int64_t first_;
  std::int64_t columns_;  // 0: no norm
  std::int64_t width_ = 1;
  float epsilon_;
  std::vector<float> weight_;
};

}  // namespace

Status CpuBackend::rotary(DeviceStream, const RotaryArgs& args) {
  const RotaryShape& s = args.shape;
  MOESIM_TRY(check_operands(args));
  Rotation rotation(s);
  const HeadNorm q_norm(args.q_norm, 0, s.q_heads * s.head_dim, s.norm_epsilon);
  const HeadNorm k_norm(args.k_norm, s.q_heads * s.head_dim, s.k_heads * s.head_dim, s.norm_epsilon);
  RowReader xs(args.x);
  RowWriter ys(args.y);
  for (std::int64_t r = 0; r < args.x.rows; ++r) {
    float* y = ys.begin(r);
    std::copy_n(xs(r), args.x.columns, y);
    q_norm.apply(y);
    k_norm.apply(y);
    rotation.set(args.positions.data[r], Turn::kForward);
    rotation.apply(y);
    ys.commit();
  }
  return {};
}

Status CpuBackend::rotary_grad(DeviceStream, const RotaryGradArgs& args) {
  const RotaryShape& s = args.shape;
  const bool norms = args.q_norm.has_value() || args.k_norm.has_value();
  MOESIM_TRY(check_operands(args));
  Rotation rotation(s);
  const HeadNorm q_norm(args.q_norm, 0, s.q_heads * s.head_dim, s.norm_epsilon);
  const HeadNorm k_norm(args.k_norm, s.q_heads * s.head_dim, s.k_heads * s.head_dim, s.norm_epsilon);
  float* gq = args.gq_norm ? fp32_row(*args.gq_norm, 0) : nullptr;
  float* gk = args.gk_norm ? fp32_row(*args.gk_norm, 0) : nullptr;
  RowReader gys(args.gy);
  RowReader xs(args.x.value_or(args.gy));  // read with norms only
  RowWriter gxs(args.gx);
  for (std::int64_t r = 0; r < args.gy.rows; ++r) {
    float* gx = gxs.begin(r);
    std::copy_n(gys(r), args.gy.columns, gx);
    rotation.set(args.positions.data[r], Turn::kBack);
    rotation.apply(gx);
    if (norms) {
      const float* x = xs(r);
      q_norm.apply_gradient(x, gx, gq);
      k_norm.apply_gradient(x, gx, gk);
    }
    gxs.commit();
  }
  return {};
}

}  // namespace moesim
