#include "models/cost/memory_law.hpp"

#include <gtest/gtest.h>

#include "models/cost/launch_law.hpp"

namespace moesim {
namespace {

constexpr MemoryMachine kMachine = {.rate = 1e12, .row_ramp = 512, .overhead = 3e-6};

TEST(MemoryLaw, BytesOverRatePlusOverhead) {
  // (600 + 400) MB / 1 TB/s = 1 ms, and 3 us.
  const Cost cost = memory_cost(kMachine, {.read = Bytes(600'000'000), .written = Bytes(400'000'000)});
  EXPECT_DOUBLE_EQ(cost.time.value(), 1e-3 + 3e-6);
  EXPECT_EQ(cost.bound, Bound::kMemory);
}

TEST(MemoryLaw, EveryKernelPaysItsOverhead) {
  const Cost cost = memory_cost(kMachine, {.read = Bytes(1'000'000), .written = Bytes(0), .kernels = 4});
  EXPECT_DOUBLE_EQ(cost.time.value(), 1e-6 + 12e-6);
  EXPECT_EQ(cost.bound, Bound::kLatency);
}

TEST(MemoryLaw, ShortRowsReachLess) {
  // Rows of 512 bytes with a ramp of 512 reach half.
  const MemoryWork work{
      .read = Bytes(500'000'000), .written = Bytes(500'000'000), .kernels = 1, .row_bytes = 512};
  EXPECT_DOUBLE_EQ(memory_cost(kMachine, work).time.value(), 2e-3 + 3e-6);
}

TEST(LaunchLaw, HeldUnitsSlowTheRest) {
  EXPECT_DOUBLE_EQ(launch_cost({.host_cost = Seconds(4e-6)}).value(), 4e-6);
  // DeepSeek-V3: 20 of 132 units -> 132/112.
  EXPECT_DOUBLE_EQ(slowdown_beside_communication({.units_held = 20.0 / 132}), 132.0 / 112);
}

}  // namespace
}  // namespace moesim
