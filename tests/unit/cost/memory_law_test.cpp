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
  const MemoryWork work{.read = Bytes(500'000'000), .written = Bytes(500'000'000), .kernels = 1, .row_bytes = 512};
  EXPECT_DOUBLE_EQ(memory_cost(kMachine, work).time.value(), 2e-3 + 3e-6);
}

TEST(LaunchLaw, KernelsFollowEachOtherAsFastAsTheHostIssuesThem) {
  const LaunchParameters parameters{.issue_interval = Seconds(4e-6)};
  // 9 us on the device hide two launches of 4 us, not three.
  const Cost kernel{.time = Seconds(9e-6), .bound = Bound::kMemory, .extrapolated = true};
  EXPECT_EQ(as_issued(parameters, 2, kernel).time, kernel.time);
  EXPECT_EQ(as_issued(parameters, 2, kernel).bound, Bound::kMemory);
  EXPECT_DOUBLE_EQ(as_issued(parameters, 3, kernel).time.value(), 12e-6);
  EXPECT_EQ(as_issued(parameters, 3, kernel).bound, Bound::kLatency);
  EXPECT_TRUE(as_issued(parameters, 3, kernel).extrapolated);
  EXPECT_EQ(as_issued(parameters, 0, {}).time, Seconds(0));
}

TEST(LaunchLaw, HeldUnitsSlowTheRest) {
  // DeepSeek-V3: 20 of 132 units -> 132/112.
  EXPECT_DOUBLE_EQ(slowdown_beside_communication({.units_held = 20.0 / 132}), 132.0 / 112);
}

}  // namespace
}  // namespace moesim
