// What a matrix multiplication costs on one device.
//
//   time = overhead + max(math + exposed * result traffic, memory)
//   math: the output is cut into tiles; a compute unit takes max(2*tm*tn*k' / rate, (tm+tn)*k'*bytes / load)
//   per tile,
//     k' = k + ramp, and `units` tiles run at a time: full waves, and `wave_loss` of what the last wave
//     leaves empty. The best of a small set of tiles counts, and of splitting k over several units where
//     tiles are few.
//   power: long kernels run at `sustained` times the rate of short ones: w -> w * (1 + (1/sustained - 1) *
//   w/(w + t)). memory: A + B + C once, and what the waves read again when A and B do not fit the L2.
//
// Example, 8192^3 BF16, 132 units of 6 TFLOP/s, no ramp, no wave loss: 128x256 tiles, 64*32/132 = 15.5 waves
// of 2*128*256*8192/6e12 = 89.5 us = 1388 us.
#pragma once

#include <cstdint>
#include <span>

#include "base/units.hpp"
#include "models/cost/cost.hpp"
#include "models/cost/law_parameters.hpp"
#include "models/cost/work.hpp"

namespace moesim {

// A device's rates for one number format, efficiencies already applied.
struct GemmMachine {
  double units = 1;
  double unit_flops = 0;   // per second and unit, in the main loop
  double unit_load = 0;    // bytes per second from L2 to one unit
  double memory_rate = 0;  // bytes per second
  double l2_bytes = 0;
  double power_loss = 0;     // 1/sustained - 1
  double power_time = 1e-3;  // seconds
  double ramp_bytes = 0;
  double wave_loss = 1;
  double epilogue_exposed = 0;
  double overhead = 0;    // seconds
  bool emulated = false;  // the device lacks the format: priced as the next wider one
};
[[nodiscard]] GemmMachine gemm_machine(const DeviceSpec& device, const GemmParameters& parameters, DType type);

struct TileShape {
  double m = 128;
  double n = 128;
};
[[nodiscard]] std::span<const TileShape> gemm_tiles();

// `tiles` of `tile_seconds` each on the machine's units, with the loss in the last wave.
[[nodiscard]] double wave_seconds(const GemmMachine& machine, double tiles, double tile_seconds);
[[nodiscard]] double tile_seconds(const GemmMachine& machine, TileShape tile, double k, double element_bytes);
// Slows math time `seconds` to what the power limit allows.
[[nodiscard]] double with_power_limit(const GemmMachine& machine, double seconds);
// Bytes read from memory beyond the first read of A and B: `tiles` of depth k in waves over an L2 of the
// machine.
[[nodiscard]] double reread_bytes(const GemmMachine& machine, TileShape tile, double tiles, double k,
                                  double element_bytes, double operand_bytes);

[[nodiscard]] Cost gemm_cost(const GemmMachine& machine, const GemmWork& work);

}  // namespace moesim
