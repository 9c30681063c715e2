#include "models/cost/grouped_gemm_law.hpp"

#include <algorithm>
#include <cmath>

namespace moesim {
namespace {

struct Candidate {
  double math = 0;
  double reread = 0;
};

// Row groups: every tile has depth k.
Candidate by_rows(const GemmMachine& machine, const GroupedGemmWork& work, TileShape tile, double operands) {
  const double columns = std::ceil(static_cast<double>(work.n) / tile.n);
  const double in_bytes = bytes_per_element(work.type);
  const auto k = static_cast<double>(work.k);
  double row_tiles = 0;
  for (const std::int64_t rows : work.rows)
    if (rows > 0) row_tiles += std::ceil(static_cast<double>(rows) / tile.m);
  const double tiles = row_tiles * columns;
  return {wave_seconds(machine, tiles, tile_seconds(machine, tile, k, in_bytes)),
          reread_bytes(machine, tile, tiles, k, in_bytes, operands)};
}

// Weight gradients: n x k outputs of each group; tiles last as long as their group has rows.
Candidate by_outputs(const GemmMachine& machine, const GroupedGemmWork& work, TileShape tile, double operands) {
  const double tiles =
      std::ceil(static_cast<double>(work.n) / tile.m) * std::ceil(static_cast<double>(work.k) / tile.n);
  const double in_bytes = bytes_per_element(work.type);
  double unit_seconds = 0;
  double count = 0;
  double longest = 0;
  Candidate candidate;
  for (const std::int64_t rows : work.rows) {
    if (rows <= 0) continue;
    const double seconds = tile_seconds(machine, tile, static_cast<double>(rows), in_bytes);
    unit_seconds += tiles * seconds;
    count += tiles;
    longest = std::max(longest, seconds);
    candidate.reread += reread_bytes(machine, tile, tiles, static_cast<double>(rows), in_bytes, operands);
  }
  // Waves of mean length; the longest tile is the least that any order takes.
  candidate.math = count > 0 ? std::max(longest, wave_seconds(machine, count, unit_seconds / count)) : 0;
  return candidate;
}

}  // namespace

Cost grouped_gemm_cost(const GemmMachine& machine, const GroupedGemmWork& work) {
  Cost cost;
  cost.extrapolated = machine.emulated;
  if (work.n <= 0 || work.k <= 0) return cost;
  double rows_total = 0;
  double groups = 0;
  for (const std::int64_t rows : work.rows)
    if (rows > 0) rows_total += static_cast<double>(rows), groups += 1;
  if (groups == 0) return cost;

  const auto n = static_cast<double>(work.n);
  const auto k = static_cast<double>(work.k);
  const double in_bytes = bytes_per_element(work.type);
  const double out_bytes = bytes_per_element(work.output);
  const bool accumulates = work.output == DType::kFp32 && work.type != DType::kFp32;
  const double operands =
      work.reduce_rows ? rows_total * (n + k) * in_bytes : (rows_total * k + groups * n * k) * in_bytes;
  const double results = (work.reduce_rows ? groups * n * k : rows_total * n) * out_bytes * (accumulates ? 2 : 1);

  double best = -1;
  double best_math = 0;
  for (const TileShape tile : gemm_tiles()) {
    const Candidate candidate = work.reduce_rows ? by_outputs(machine, work, tile, operands / groups)
                                                 : by_rows(machine, work, tile, operands / groups);
    const double math =
        with_power_limit(machine, candidate.math) + machine.epilogue_exposed * results / machine.memory_rate;
    const double total = std::max(math, (operands + results + candidate.reread) / machine.memory_rate);
    if (best < 0 || total < best) best = total, best_math = math;
  }
  cost.time = Seconds(machine.overhead + best);
  cost.bound = best_math >= best ? Bound::kMath : Bound::kMemory;
  if (machine.overhead > best) cost.bound = Bound::kLatency;
  return cost;
}

}  // namespace moesim
