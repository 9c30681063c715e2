#include <fmt/format.h>

#include <numeric>
#include <utility>

#include "exec/bench/cases.hpp"
#include "exec/bench/device_buffer.hpp"

namespace moesim {
namespace {

using Rows = std::vector<std::int64_t>;

struct RowPattern {
  std::string_view name;
  Rows rows;
};

// `mean` rows for each of 8 groups: evenly, as a skewed gate deals them out, and with every other group empty.
std::vector<RowPattern> patterns(std::int64_t mean) {
  return {{"even", Rows(8, mean)},
          {"uneven",
           {mean * 3, mean * 2, mean, mean / 2, mean / 2, mean / 4, mean / 4, mean * 8 - 6 * mean - 3 * (mean / 2)}},
          {"empty groups", {mean * 2, 0, mean * 2, 0, mean * 2, 0, mean * 2, 0}}};
}

PlannedCase forward(const RowPattern& pattern, std::int64_t in, std::int64_t out, DType type) {
  const GroupedRows work{.rows = pattern.rows, .n = out, .k = in, .type = type, .output = type};
  const std::int64_t total = std::accumulate(pattern.rows.begin(), pattern.rows.end(), std::int64_t{0});
  return {.name = fmt::format("grouped gemm {} {} rows {} {}x{}", dtype_name(type), total, pattern.name, out, in),
          .work = work,
          .prepare = [work, total](BenchContext& context) -> Result<PreparedCase> {
            MOESIM_ASSIGN(const DeviceMatrixBuffer x, matrix(context, total, work.k, work.type));
            MOESIM_ASSIGN(const MatricesInTurn w,
                          MatricesInTurn::make(context, std::ssize(work.rows) * work.k, work.n, work.type));
            MOESIM_ASSIGN(const MatricesInTurn y, MatricesInTurn::make(context, total, work.n, work.type));
            return PreparedCase{
                .run =
                    [&context, x, w, y, rows = work.rows] {
                      return context.backend.grouped_gemm(context.stream, {x.view, w.next(), y.next(), rows});
                    },
                .finish = {}};
          }};
}

PlannedCase weight_gradient(const RowPattern& pattern, std::int64_t in, std::int64_t out, DType type) {
  const GroupedRows work{
      .rows = pattern.rows, .n = in, .k = out, .type = type, .output = DType::kFp32, .reduce_rows = true};
  const std::int64_t total = std::accumulate(pattern.rows.begin(), pattern.rows.end(), std::int64_t{0});
  return {.name = fmt::format("grouped gemm weight gradient {} {} rows {} {}x{}", dtype_name(type), total, pattern.name,
                              in, out),
          .work = work,
          .prepare = [work, total](BenchContext& context) -> Result<PreparedCase> {
            MOESIM_ASSIGN(const MatricesInTurn x, MatricesInTurn::make(context, total, work.n, work.type));
            MOESIM_ASSIGN(const DeviceMatrixBuffer gy, matrix(context, total, work.k, work.type));
            MOESIM_ASSIGN(const MatricesInTurn gw,
                          MatricesInTurn::make(context, std::ssize(work.rows) * work.n, work.k, DType::kFp32));
            return PreparedCase{
                .run =
                    [&context, x, gy, gw, rows = work.rows] {
                      return context.backend.grouped_gemm_wgrad(context.stream, {x.next(), gy.view, gw.next(), rows});
                    },
                .finish = {}};
          }};
}

}  // namespace

std::vector<PlannedCase> grouped_cases(BenchScale scale, const std::vector<std::string>&) {
  const bool small = scale == BenchScale::kSmall;
  const std::vector<std::int64_t> means = small ? Rows{8, 64, 256} : Rows{32, 256, 1024, 4096};
  using Layers = std::vector<std::pair<std::int64_t, std::int64_t>>;
  const Layers layers = small ? Layers{{256, 1024}, {1024, 256}, {512, 512}}
                              : Layers{{2048, 1536}, {768, 2048}, {7168, 4096}, {2048, 7168}, {4096, 28672}};
  const std::vector<DType> types =
      small ? std::vector<DType>{DType::kFp32, DType::kBf16} : std::vector<DType>{DType::kBf16};
  std::vector<PlannedCase> cases;
  for (const DType type : types)
    for (const auto& [in, out] : layers)
      for (const std::int64_t mean : means)
        for (const RowPattern& pattern : patterns(mean)) {
          cases.push_back(forward(pattern, in, out, type));
          cases.push_back(weight_gradient(pattern, in, out, type));
        }
  return cases;
}

}  // namespace moesim
