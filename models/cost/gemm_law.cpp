#include "models/cost/gemm_law.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace moesim {
namespace {

// The last entry is for a handful of rows against a wide matrix, where many narrow tiles keep all units
// loading.
constexpr std::array<TileShape, 7> kTiles = {
    {{128, 256}, {256, 128}, {128, 128}, {64, 256}, {128, 64}, {64, 128}, {64, 32}}};
constexpr std::array<double, 3> kSplits = {2, 4, 8};

double ceil_divide(double a, double b) { return std::ceil(a / b); }

double math_efficiency(const GemmParameters& parameters, DType type) {
  switch (type) {
    case DType::kFp32:
    case DType::kTf32:
    case DType::kInt32:
    case DType::kInt64: return parameters.math_efficiency_fp32;
    case DType::kFp8:
    case DType::kFp4:
    case DType::kInt8: return parameters.math_efficiency_fp8;
    case DType::kBf16:
    case DType::kFp16: break;
  }
  return parameters.math_efficiency;
}

}  // namespace

std::span<const TileShape> gemm_tiles() { return kTiles; }

GemmMachine gemm_machine(const DeviceSpec& device, const GemmParameters& parameters, DType type) {
  const DType computed = device.computing_format(type);
  const double units = std::max(1, device.compute_units);
  // A device without any floating-point figure is unusable but must not divide by zero.
  const double peak = std::max(device.peak(computed).value(), 1e9);
  const double clock = device.boost_clock.value() > 0 ? device.boost_clock.value() : 1.5e9;
  return {.units = units,
          .unit_flops = peak * math_efficiency(parameters, computed) / units,
          .unit_load = parameters.load_bytes_per_clock * clock,
          .memory_rate = std::max(device.memory_bandwidth.value(), 1e9) * parameters.memory_efficiency,
          .l2_bytes = device.l2_cache.value(),
          .power_loss = 1 / parameters.sustained - 1,
          .power_time = parameters.sustained_after.value(),
          .ramp_bytes = parameters.ramp_bytes,
          .wave_loss = parameters.wave_loss,
          .epilogue_exposed = parameters.epilogue_exposed,
          .overhead = parameters.overhead.value(),
          .emulated = computed != type};
}

double wave_seconds(const GemmMachine& machine, double tiles, double tile) {
  const double waves = tiles / machine.units;
  if (waves <= 1) return tile;
  return tile * (waves + machine.wave_loss * (std::ceil(waves) - waves));
}

double tile_seconds(const GemmMachine& machine, TileShape tile, double k, double element_bytes) {
  const double depth = k + machine.ramp_bytes / element_bytes;
  return std::max(2 * tile.m * tile.n * depth / machine.unit_flops,
                  (tile.m + tile.n) * depth * element_bytes / machine.unit_load);
}

double with_power_limit(const GemmMachine& machine, double seconds) {
  return seconds * (1 + machine.power_loss * seconds / (seconds + machine.power_time));
}

double reread_bytes(const GemmMachine& machine, TileShape tile, double tiles, double k, double element_bytes,
                    double operand_bytes) {
  // The tiles of one wave form a block about as wide as high, so each wave reads two sides of it.
  const double side = std::sqrt(machine.units * tile.m * tile.n);
  const double wave_reads = tiles / machine.units * 2 * side * k * element_bytes;
  const double missing = operand_bytes > machine.l2_bytes ? 1 - machine.l2_bytes / operand_bytes : 0;
  return std::max(0.0, wave_reads - operand_bytes) * missing;
}

Cost gemm_cost(const GemmMachine& machine, const GemmWork& work) {
  Cost cost;
  cost.extrapolated = machine.emulated;
  if (work.m <= 0 || work.n <= 0 || work.k <= 0 || work.batch <= 0) return cost;
  const auto m = static_cast<double>(work.m);
  const auto n = static_cast<double>(work.n);
  const auto k = static_cast<double>(work.k);
  const auto batch = static_cast<double>(work.batch);
  const double in_bytes = bytes_per_element(work.type);
  const double operands = batch * (m * k + k * n) * in_bytes;
  // FP32 results of narrower inputs are accumulated in place (weight gradients): read and written.
  const bool accumulates = work.output == DType::kFp32 && work.type != DType::kFp32;
  const double results = batch * m * n * bytes_per_element(work.output) * (accumulates ? 2 : 1);

  const double epilogue = machine.epilogue_exposed * results / machine.memory_rate;
  double best_math = 0;
  double best = -1;
  for (const TileShape tile : kTiles) {
    const double tiles = batch * ceil_divide(m, tile.m) * ceil_divide(n, tile.n);
    const double traffic = operands + results + reread_bytes(machine, tile, tiles, k, in_bytes, operands / batch);
    double math =
        with_power_limit(machine, wave_seconds(machine, tiles, tile_seconds(machine, tile, k, in_bytes))) + epilogue;
    double total = std::max(math, traffic / machine.memory_rate);
    if (best < 0 || total < best) best = total, best_math = math;
    for (const double split : kSplits) {
      if (tiles * split > machine.units) break;
      // Each part writes FP32 partial sums that a second pass adds up.
      const double partials = 2 * split * batch * m * n * 4;
      math = wave_seconds(machine, tiles * split, tile_seconds(machine, tile, k / split, in_bytes)) + epilogue;
      total = std::max(math, traffic / machine.memory_rate) + partials / machine.memory_rate + machine.overhead / 2;
      if (total < best) best = total, best_math = math;
    }
  }
  cost.time = Seconds(machine.overhead + best);
  cost.bound = best_math >= best ? Bound::kMath : Bound::kMemory;
  if (machine.overhead > best) cost.bound = Bound::kLatency;
  return cost;
}

}  // namespace moesim
