#include <algorithm>
#include <cstring>
#include <numeric>
#include <vector>

#include "exec/compute/cpu/cpu_backend.hpp"
#include "exec/compute/cpu/fp32_access.hpp"
#include "exec/compute/cpu/row_math.hpp"
#include "exec/compute/kernel_checks.hpp"

namespace moesim {
namespace {

std::int64_t rows_of(const RoutingMap& map) {
  return std::accumulate(map.expert_rows, map.expert_rows + map.experts, std::int64_t{0});
}

std::size_t row_bytes(const MatrixView& m) { return static_cast<std::size_t>(storage(m.columns, m.type).count()); }

void copy_row(const MatrixView& from, std::int64_t from_row, const MatrixView& to, std::int64_t to_row) {
  if (to.columns == 0) return;
  std::memcpy(detail::element_address(to, to_row, 0), detail::element_address(from, from_row, 0), row_bytes(to));
}

float weight_of(const std::optional<MatrixView>& probabilities, const RoutingMap& map, std::int64_t copy) {
  return probabilities ? fp32_row(*probabilities, copy / map.top_k)[copy % map.top_k] : 1.0F;
}

// out = sum over the copies of a token of weight * row.
void sum_of_copies(const RoutingMap& map, std::int64_t token, const std::optional<MatrixView>& probabilities,
                   RowReader& rows, std::int64_t columns, float* out) {
  std::fill_n(out, columns, 0.0F);
  for (std::int64_t c = token * map.top_k; c < (token + 1) * map.top_k; ++c) {
    if (map.row_of_copy[c] < 0) continue;
    const float weight = weight_of(probabilities, map, c);
    const float* row = rows(map.row_of_copy[c]);
    for (std::int64_t i = 0; i < columns; ++i) out[i] += weight * row[i];
  }
}

}  // namespace

Status CpuBackend::permute(DeviceStream, const PermuteArgs& args) {
  const RoutingMap& map = args.map;
  MOESIM_TRY(check_operands(args, rows_of(map)));
  for (std::int64_t r = 0; r < args.y.rows; ++r) {
    const std::int32_t copy = map.copy_of_row[r];
    if (args.weights) *fp32_row(*args.weights, r) = copy < 0 ? 0.0F : weight_of(args.probabilities, map, copy);
    if (copy >= 0)
      copy_row(args.x, copy / map.top_k, args.y, r);
    else if (args.y.columns > 0)
      std::memset(detail::element_address(args.y, r, 0), 0, row_bytes(args.y));
  }
  return {};
}

Status CpuBackend::permute_grad(DeviceStream, const PermuteGradArgs& args) {
  const RoutingMap& map = args.map;
  MOESIM_TRY(check_operands(args, rows_of(map)));
  RowReader gys(args.gy);
  RowWriter gxs(args.gx);
  for (std::int64_t t = 0; t < map.tokens; ++t) {
    sum_of_copies(map, t, std::nullopt, gys, args.gx.columns, gxs.begin(t));
    gxs.commit();
    if (!args.gp) continue;
    float* gp = fp32_row(*args.gp, t);
    std::fill_n(gp, 2 * map.top_k, 0.0F);
    for (std::int64_t s = 0; s < map.top_k; ++s) {
      const std::int32_t row = map.row_of_copy[t * map.top_k + s];
      if (args.gweights && row >= 0) gp[s] = *fp32_row(*args.gweights, row);
    }
  }
  return {};
}

Status CpuBackend::unpermute(DeviceStream, const UnpermuteArgs& args) {
  const RoutingMap& map = args.map;
  MOESIM_TRY(check_operands(args, rows_of(map)));
  RowReader ys(args.y);
  RowWriter xs(args.x);
  for (std::int64_t t = 0; t < map.tokens; ++t) {
    sum_of_copies(map, t, args.probabilities, ys, args.x.columns, xs.begin(t));
    xs.commit();
  }
  return {};
}

Status CpuBackend::unpermute_grad(DeviceStream, const UnpermuteGradArgs& args) {
  const RoutingMap& map = args.map;
  MOESIM_TRY(check_operands(args, rows_of(map)));
  const std::int64_t columns = args.gx.columns;
  RowReader gxs(args.gx);
  RowWriter gys(args.gy);
  for (std::int64_t r = 0; r < args.gy.rows; ++r) {
    const std::int32_t copy = map.copy_of_row[r];
    const float weight = copy < 0 ? 0.0F : weight_of(args.probabilities, map, copy);
    float* gy = gys.begin(r);
    std::fill_n(gy, columns, 0.0F);
    if (copy >= 0) {
      const float* gx = gxs(copy / map.top_k);
      for (std::int64_t i = 0; i < columns; ++i) gy[i] = weight * gx[i];
    }
    gys.commit();
  }
  if (!args.gp) return {};
  RowReader ys(*args.y);
  for (std::int64_t t = 0; t < map.tokens; ++t) {
    const float* gx = gxs(t);
    float* gp = fp32_row(*args.gp, t);
    std::fill_n(gp, 2 * map.top_k, 0.0F);
    for (std::int64_t s = 0; s < map.top_k; ++s) {
      const std::int32_t row = map.row_of_copy[t * map.top_k + s];
      if (row >= 0) gp[s] = dot(gx, ys(row), columns);
    }
  }
  return {};
}

Status CpuBackend::sort_rows(DeviceStream, const SortRowsArgs& args) {
  const std::int64_t experts = args.experts;
  MOESIM_TRY(check_operands(args));
  const auto blocks = static_cast<std::int64_t>(args.counts.size());
  const std::int64_t sources = experts > 0 ? blocks / experts : 0;
  std::vector<std::int64_t> first(args.counts.size());  // row of each block in the order of sources
  std::exclusive_scan(args.counts.begin(), args.counts.end(), first.begin(), std::int64_t{0});
  std::int64_t sorted = 0;  // row in the order of experts
  for (std::int64_t e = 0; e < experts; ++e)
    for (std::int64_t s = 0; s < sources; ++s) {
      const auto block = static_cast<std::size_t>(s * experts + e);
      for (std::int64_t i = 0; i < args.counts[block]; ++i, ++sorted) {
        if (args.to == RowOrder::kByExpert)
          copy_row(args.x, first[block] + i, args.y, sorted);
        else
          copy_row(args.x, sorted, args.y, first[block] + i);
      }
    }
  return {};
}

Status CpuBackend::move_rows(DeviceStream, const MoveRowsArgs& args) {
  MOESIM_TRY(check_operands(args));
  for (const RowRun& run : args.runs)
    for (std::int64_t i = 0; i < run.rows; ++i) copy_row(args.x, run.from + i, args.y, run.to + i);
  return {};
}

}  // namespace moesim
