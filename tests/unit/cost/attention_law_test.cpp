#include "models/cost/attention_law.hpp"

#include <gtest/gtest.h>

#include "test_cluster.hpp"

namespace moesim {
namespace {

// 100 units, 100 TFLOP/s, no tail, no memory limit.
AttentionMachine ideal_attention() {
  AttentionMachine machine;
  machine.units = 100;
  machine.flops = 100e12;
  machine.memory_rate = 1e18;
  machine.parameters = {.forward_efficiency = 1,
                        .backward_efficiency = 1,
                        .wide_head_factor = 0.5,
                        .forward_tail = 0,
                        .backward_tail = 0,
                        .memory_efficiency = 1,
                        .overhead = Seconds(0)};
  return machine;
}

AttentionWork square(std::int64_t length) {
  return {.sequences = 1,
          .query_length = length,
          .key_length = length,
          .heads = 32,
          .kv_heads = 8,
          .qk_dim = 128,
          .v_dim = 128};
}

TEST(AttentionLaw, CausalHalvesTheWork) {
  AttentionWork work = square(4096);
  // 2 * 4096 * 4096 * 32 * 256 / 2
  EXPECT_DOUBLE_EQ(attention_flops(work).value(), 2.0 * 4096 * 2048 * 32 * 256);
  work.causal = false;
  EXPECT_DOUBLE_EQ(attention_flops(work).value(), 2.0 * 4096 * 4096 * 32 * 256);
  work.backward = true;
  EXPECT_DOUBLE_EQ(attention_flops(work).value(), 2.5 * 2.0 * 4096 * 4096 * 32 * 256);
}

TEST(AttentionLaw, WindowBoundsTheKeys) {
  AttentionWork work = square(4096);
  work.window = 1024;
  // A query sees 1024 - 1024^2/(2*4096) = 896 keys on average.
  EXPECT_DOUBLE_EQ(attention_flops(work).value(), 2.0 * 4096 * 896 * 32 * 256);
  work.window = 100'000;  // wider than the sequence: no window
  EXPECT_DOUBLE_EQ(attention_flops(work).value(), attention_flops(square(4096)).value());
}

TEST(AttentionLaw, ContextParallelRanksShareTheTriangle) {
  AttentionWork quarter = square(4096);
  quarter.query_length = 1024;
  EXPECT_DOUBLE_EQ(attention_flops(quarter).value() * 4, attention_flops(square(4096)).value());
}

TEST(AttentionLaw, TimeAtTheRate) {
  EXPECT_DOUBLE_EQ(attention_cost(ideal_attention(), square(4096)).time.value(), 2.0 * 4096 * 2048 * 32 * 256 / 100e12);
  AttentionWork mla = square(4096);
  mla.qk_dim = 192;
  EXPECT_DOUBLE_EQ(attention_cost(ideal_attention(), mla).time.value(), 2.0 * 4096 * 2048 * 32 * (192 + 128) / 50e12);
}

TEST(AttentionLaw, FewHeadsLeaveUnitsIdle) {
  // One head of 4096 queries is 32 blocks on 100 units; the longest block sees all 4096 keys.
  AttentionWork work = square(4096);
  work.heads = work.kv_heads = 1;
  EXPECT_DOUBLE_EQ(attention_cost(ideal_attention(), work).time.value(), 2.0 * 128 * 4096 * 256 / 1e12);
  AttentionMachine tail = ideal_attention();
  tail.parameters.forward_tail = 0.5;
  EXPECT_DOUBLE_EQ(attention_cost(tail, square(4096)).time.value(),
                   2.0 * 4096 * 2048 * 32 * 256 / 100e12 + 0.5 * 2.0 * 128 * 4096 * 256 / 1e12);
}

TEST(AttentionLaw, MemoryCountsSharedKeysOnce) {
  // Q and O: 4096*32*(128+128), K and V: 4096*8*(128+128), 2 bytes.
  EXPECT_EQ(attention_bytes(square(4096)).count(), 2LL * 4096 * (32 + 8) * 256);
  AttentionMachine slow = ideal_attention();
  slow.memory_rate = 1e9;
  const Cost cost = attention_cost(slow, square(4096));
  EXPECT_DOUBLE_EQ(cost.time.value(), 2.0 * 4096 * 40 * 256 / 1e9);
  EXPECT_EQ(cost.bound, Bound::kMemory);
}

TEST(AttentionLaw, LinearAttentionIsLinear) {
  AttentionWork work = square(4096);
  work.linear = true;
  // 4096 * 32 * (4*128*128 + 64*256)
  EXPECT_DOUBLE_EQ(attention_flops(work).value(), 4096.0 * 32 * (4 * 128 * 128 + 64 * 256));
  AttentionWork twice = square(8192);
  twice.linear = true;
  EXPECT_DOUBLE_EQ(attention_flops(twice).value(), 2 * attention_flops(work).value());
}

TEST(AttentionLaw, NothingToDoIsFreeAndMoreKeysNeverCostLess) {
  AttentionWork work = square(0);
  EXPECT_EQ(attention_cost(ideal_attention(), work).time.value(), 0);
  double previous = 0;
  for (std::int64_t length = 64; length < 20000; length += 100) {
    const double time = attention_cost(ideal_attention(), square(length)).time.value();
    EXPECT_GT(time, previous);
    previous = time;
  }
}

}  // namespace
}  // namespace moesim
