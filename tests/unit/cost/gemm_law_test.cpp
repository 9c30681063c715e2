#include "models/cost/gemm_law.hpp"

#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "models/cost/grouped_gemm_law.hpp"
#include "test_cluster.hpp"

namespace moesim {
namespace {

// 100 units of 1 TFLOP/s; loads and memory fast enough not to matter unless a test lowers them.
GemmMachine ideal_gemm() {
  return {.units = 100,
          .unit_flops = 1e12,
          .unit_load = 1e15,
          .memory_rate = 1e15,
          .l2_bytes = 1e12,
          .power_loss = 0,
          .power_time = 1e-3,
          .ramp_bytes = 0,
          .wave_loss = 1,
          .epilogue_exposed = 0,
          .overhead = 0,
          .emulated = false};
}

double seconds(const GemmMachine& machine, const GemmWork& work) { return gemm_cost(machine, work).time.value(); }

TEST(GemmLaw, FullWavesRunAtTheRate) {
  // 1280 x 1280 in 128x128: 100 tiles, one wave of 2*128*128*1000/1e12 = 32.768 us. Larger tiles: 50 of twice
  // that.
  EXPECT_DOUBLE_EQ(seconds(ideal_gemm(), {.m = 1280, .n = 1280, .k = 1000}), 2.0 * 128 * 128 * 1000 / 1e12);
}

TEST(GemmLaw, OneTileMoreStartsAnotherWave) {
  // 101 tiles of 64x32 (the smallest): 2 waves when the last wave is lost in full, 1.01 when none of it is.
  const GemmWork work{.m = 64, .n = 101 * 32, .k = 1000};
  const double tile = 2.0 * 64 * 32 * 1000 / 1e12;
  EXPECT_DOUBLE_EQ(wave_seconds(ideal_gemm(), 101, tile), 2 * tile);
  GemmMachine soft = ideal_gemm();
  soft.wave_loss = 0;
  EXPECT_DOUBLE_EQ(wave_seconds(soft, 101, tile), 1.01 * tile);
  EXPECT_DOUBLE_EQ(wave_seconds(soft, 1, tile), tile);  // one tile cannot be split over units
  EXPECT_DOUBLE_EQ(seconds(soft, work), 1.01 * tile);
}

TEST(GemmLaw, NarrowTilesAreBoundByTheirLoads) {
  GemmMachine machine = ideal_gemm();
  machine.unit_load = 1e9;
  // (64 + 32) * 1000 * 2 bytes at 1 GB/s = 192 us, against 4.1 us of math.
  EXPECT_DOUBLE_EQ(tile_seconds(machine, {64, 32}, 1000, 2), 192e-6);
}

TEST(GemmLaw, RampLengthensTheMainLoop) {
  GemmMachine machine = ideal_gemm();
  machine.ramp_bytes = 200;  // 100 BF16 elements of k
  EXPECT_DOUBLE_EQ(tile_seconds(machine, {128, 128}, 900, 2), 2.0 * 128 * 128 * 1000 / 1e12);
}

TEST(GemmLaw, MemoryRoofCountsEveryOperandOnce) {
  GemmMachine machine = ideal_gemm();
  machine.memory_rate = 1e9;
  // (100*1000 + 1000*200 + 100*200) elements * 2 bytes at 1 GB/s = 640 us.
  const Cost cost = gemm_cost(machine, {.m = 100, .n = 200, .k = 1000});
  EXPECT_DOUBLE_EQ(cost.time.value(), 640e-6);
  EXPECT_EQ(cost.bound, Bound::kMemory);
  // An FP32 result is accumulated: read and written, 4 bytes each: 600 + 160 us.
  EXPECT_DOUBLE_EQ(seconds(machine, {.m = 100, .n = 200, .k = 1000, .output = DType::kFp32}), 760e-6);
}

TEST(GemmLaw, OperandsThatMissTheCacheAreReadAgain) {
  GemmMachine machine = ideal_gemm();
  machine.l2_bytes = 50;
  // One wave of 100 tiles 128x128: side sqrt(100*128*128) = 1280; reads 2*1280*k*2 bytes.
  EXPECT_DOUBLE_EQ(reread_bytes(machine, {128, 128}, 100, 10, 2, 100), (2 * 1280 * 10 * 2 - 100) * 0.5);
  machine.l2_bytes = 100;
  EXPECT_DOUBLE_EQ(reread_bytes(machine, {128, 128}, 100, 10, 2, 100), 0);
}

TEST(GemmLaw, PartOfTheResultTrafficIsExposed) {
  GemmMachine machine = ideal_gemm();
  machine.memory_rate = 1e12;
  machine.epilogue_exposed = 0.25;
  // One wave of 131.072 us, and a quarter of 1280*1280*2 bytes at 1 TB/s.
  EXPECT_DOUBLE_EQ(seconds(machine, {.m = 1280, .n = 1280, .k = 4000}),
                   2.0 * 128 * 128 * 4000 / 1e12 + 0.25 * 1280 * 1280 * 2 / 1e12);
}

TEST(GemmLaw, PowerLimitSlowsLongKernels) {
  GemmMachine machine = ideal_gemm();
  machine.power_loss = 0.25;
  EXPECT_DOUBLE_EQ(with_power_limit(machine, 1e-3), 1e-3 * 1.125);  // at the half-way duration
  EXPECT_NEAR(with_power_limit(machine, 1.0), 1.25, 1e-3);
  EXPECT_NEAR(with_power_limit(machine, 1e-7), 1e-7, 1e-11);
}

TEST(GemmLaw, FewTilesSplitTheReduction) {
  // One 64x32 tile... of k = 80000: 8 units work on it in an eighth of the time.
  const double whole = 2.0 * 64 * 32 * 80000 / 1e12;
  EXPECT_DOUBLE_EQ(seconds(ideal_gemm(), {.m = 64, .n = 32, .k = 80000}), whole / 8 + 2.0 * 8 * 64 * 32 * 4 / 1e15);
}

TEST(GemmLaw, NothingToDoIsFree) {
  GemmMachine machine = ideal_gemm();
  machine.overhead = 1e-6;
  EXPECT_EQ(seconds(machine, {.m = 0, .n = 10, .k = 10}), 0);
  EXPECT_GT(seconds(machine, {.m = 1, .n = 1, .k = 1}), 1e-6);
  EXPECT_EQ(gemm_cost(machine, {.m = 1, .n = 1, .k = 1}).bound, Bound::kLatency);
}

TEST(GemmLaw, NeverAboveThePeakAndMonotone) {
  const DeviceSpec device = round_device();
  const GemmMachine machine = gemm_machine(device, default_law_parameters(device).gemm, DType::kBf16);
  for (const std::int64_t n : {64, 1000, 4096}) {
    for (const std::int64_t k : {64, 777, 8192}) {
      double previous = 0;
      for (std::int64_t m = 1; m < 20000; m += 37) {
        const double time = seconds(machine, {.m = m, .n = n, .k = k});
        EXPECT_GE(time, previous) << m << " x " << n << " x " << k;
        EXPECT_GE(time, 2.0 * static_cast<double>(m * n * k) / 100e12);
        EXPECT_GE(time, static_cast<double>((m + n) * k + m * n) * 2 / 1e12);
        EXPECT_GE(seconds(machine, {.m = m, .n = n, .k = k + 100}), time);
        previous = time;
      }
    }
  }
}

TEST(GemmLaw, MissingFormatIsPricedAsTheNextWiderAndSaysSo) {
  const DeviceSpec device = round_device();
  const GemmParameters parameters = default_law_parameters(device).gemm;
  const GemmMachine fp8 = gemm_machine(device, parameters, DType::kFp8);
  EXPECT_TRUE(fp8.emulated);
  EXPECT_DOUBLE_EQ(fp8.unit_flops, gemm_machine(device, parameters, DType::kBf16).unit_flops);
  EXPECT_TRUE(gemm_cost(fp8, {.m = 8, .n = 8, .k = 8, .type = DType::kFp8}).extrapolated);
  EXPECT_TRUE(gemm_machine(device, parameters, DType::kTf32).emulated);
}

TEST(GroupedGemmLaw, GroupsShareTheWaves) {
  // 2 groups of 128 rows, n = 6400 in 128x128: 100 tiles, one wave.
  const std::array<std::int64_t, 3> rows = {128, 0, 128};
  EXPECT_DOUBLE_EQ(grouped_gemm_cost(ideal_gemm(), {.rows = rows, .n = 6400, .k = 1000}).time.value(),
                   2.0 * 128 * 128 * 1000 / 1e12);
}

TEST(GroupedGemmLaw, OneGroupEqualsAPlainGemm) {
  const std::array<std::int64_t, 1> rows = {5000};
  GemmMachine machine = ideal_gemm();
  machine.overhead = 2e-6;
  machine.ramp_bytes = 300;
  machine.memory_rate = 1e12;
  machine.l2_bytes = 1e6;
  EXPECT_DOUBLE_EQ(grouped_gemm_cost(machine, {.rows = rows, .n = 6400, .k = 1000}).time.value(),
                   seconds(machine, {.m = 5000, .n = 6400, .k = 1000}));
}

TEST(GroupedGemmLaw, EveryNonEmptyGroupReadsItsWeights) {
  GemmMachine machine = ideal_gemm();
  machine.memory_rate = 1e9;
  // 2 non-empty of 4 groups, one row each: 2*1000*1000 weights, 2*1000 in, 2*1000 out, 2 bytes each.
  const std::array<std::int64_t, 4> rows = {1, 0, 1, 0};
  EXPECT_DOUBLE_EQ(grouped_gemm_cost(machine, {.rows = rows, .n = 1000, .k = 1000}).time.value(),
                   2 * (2e6 + 4e3) / 1e9);
}

TEST(GroupedGemmLaw, WeightGradientsLastAsLongAsTheirRows) {
  // n x k = 1280 x 640 in 128x64: 100 tiles per group, two waves of the mean of 1000 and 3000 rows.
  const std::array<std::int64_t, 2> rows = {1000, 3000};
  GroupedGemmWork work{.rows = rows, .n = 1280, .k = 640, .reduce_rows = true};
  EXPECT_DOUBLE_EQ(grouped_gemm_cost(ideal_gemm(), work).time.value(), 2 * 2.0 * 128 * 64 * 2000 / 1e12);
  // One tile per group: the longer group decides.
  work.n = 64;
  work.k = 32;
  EXPECT_DOUBLE_EQ(grouped_gemm_cost(ideal_gemm(), work).time.value(), 2.0 * 64 * 32 * 3000 / 1e12);
}

TEST(GroupedGemmLaw, OrderOfGroupsDoesNotMatterAndEmptyIsFree) {
  const std::vector<std::int64_t> rows = {10, 500, 3, 0, 77};
  const std::vector<std::int64_t> shuffled = {0, 77, 500, 10, 3};
  const std::vector<std::int64_t> none = {0, 0};
  for (const bool reduce : {false, true}) {
    EXPECT_DOUBLE_EQ(
        grouped_gemm_cost(ideal_gemm(), {.rows = rows, .n = 700, .k = 300, .reduce_rows = reduce}).time.value(),
        grouped_gemm_cost(ideal_gemm(), {.rows = shuffled, .n = 700, .k = 300, .reduce_rows = reduce}).time.value());
    EXPECT_EQ(grouped_gemm_cost(ideal_gemm(), {.rows = none, .n = 700, .k = 300, .reduce_rows = reduce}).time.value(),
              0);
  }
}

}  // namespace
}  // namespace moesim
