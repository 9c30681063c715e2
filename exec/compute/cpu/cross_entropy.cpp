#include <algorithm>
#include <cmath>
#include <limits>

#include "exec/compute/cpu/cpu_backend.hpp"
#include "exec/compute/cpu/fast_exp.hpp"
#include "exec/compute/cpu/fp32_access.hpp"
#include "exec/compute/cpu/row_math.hpp"
#include "exec/compute/kernel_checks.hpp"

namespace moesim {
namespace {

// The column of a label, or -1 where another shard holds it or there is none.
std::int64_t label_column(std::int32_t label, std::int64_t first_column, std::int64_t valid_columns) {
  const std::int64_t column = label - first_column;
  return label >= 0 && column >= 0 && column < valid_columns ? column : -1;
}

// The factor of a part's sum; a shard that is all padding has -infinity and counts nothing, instead of e^(inf - inf).
float exp_below(float x, float largest) {
  return x == -std::numeric_limits<float>::infinity() ? 0.0F : fast_exp(x - largest);
}

}  // namespace

Status CpuBackend::cross_entropy(DeviceStream, const CrossEntropyArgs& args) {
  const std::int64_t valid = args.valid_columns;
  MOESIM_TRY(check_operands(args));
  RowReader logits(args.logits);
  for (std::int64_t r = 0; r < args.logits.rows; ++r) {
    const float* row = logits(r);
    const float largest = largest_of(row, valid);
    const float sum = sum_exp(row, valid, largest);
    const std::int64_t label = label_column(args.labels.data[r], args.first_column, valid);
    float* out = fp32_row(args.statistics, r);
    out[0] = largest;
    out[1] = sum;
    out[2] = label >= 0 ? row[label] : 0.0F;
  }
  return {};
}

Status CpuBackend::combine_loss(DeviceStream, const CombineLossArgs& args) {
  const std::int64_t rows = args.combined.rows;
  MOESIM_TRY(check_operands(args));
  for (std::int64_t r = 0; r < rows; ++r) {
    float largest = -std::numeric_limits<float>::infinity();
    for (const MatrixView& part : args.parts) largest = std::max(largest, fp32_row(part, r)[0]);
    float sum = 0.0F;
    float label = 0.0F;
    for (const MatrixView& part : args.parts) {
      const float* p = fp32_row(part, r);
      sum += p[1] * exp_below(p[0], largest);
      label += p[2];
    }
    float* out = fp32_row(args.combined, r);
    out[0] = largest;
    out[1] = sum;
    out[2] = label;
  }
  return {};
}

Status CpuBackend::loss_sum(DeviceStream, const LossSumArgs& args) {
  MOESIM_TRY(check_operands(args));
  double sum = 0.0;
  for (std::int64_t r = 0; r < args.statistics.rows; ++r) {
    if (args.labels.data[r] < 0) continue;
    const float* s = fp32_row(args.statistics, r);
    sum += static_cast<double>(s[0]) + std::log(static_cast<double>(s[1])) - static_cast<double>(s[2]);
  }
  *args.sum += sum;
  return {};
}

Status CpuBackend::cross_entropy_grad(DeviceStream, const CrossEntropyGradArgs& args) {
  const std::int64_t valid = args.valid_columns;
  const std::int64_t columns = args.logits.columns;
  MOESIM_TRY(check_operands(args));
  RowReader logits(args.logits);
  RowWriter out(args.glogits);
  for (std::int64_t r = 0; r < args.logits.rows; ++r) {
    const float* row = logits(r);
    float* g = out.begin(r);
    if (args.labels.data[r] < 0) {
      std::fill_n(g, columns, 0.0F);
    } else {
      const float* s = fp32_row(args.statistics, r);
      const float factor = args.scale / s[1];
      exp_row(row, valid, s[0], g);
      for (std::int64_t i = 0; i < valid; ++i) g[i] *= factor;
      std::fill_n(g + valid, columns - valid, 0.0F);
      const std::int64_t label = label_column(args.labels.data[r], args.first_column, valid);
      if (label >= 0) g[label] -= args.scale;
    }
    out.commit();
  }
  return {};
}

}  // namespace moesim
