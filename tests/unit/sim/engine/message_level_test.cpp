#include "sim/engine/message_level.hpp"

#include <gtest/gtest.h>
#include <vector>

#include "program_builder.hpp"

namespace moesim {
namespace {

// 1 byte per picosecond.
constexpr BytesPerSecond kUnitRate(1e12);
constexpr Seconds kNone(0);

// The header's worked number: out 0-100-200, in 105-205-305.
TEST(MessageLevel, EqualMessagesTakeTheBoundAndOneMore) {
  const std::vector<std::int64_t> bytes(9, 100);
  const MessageLevelResult result = simulate_all_to_all(3, bytes, kUnitRate, Seconds(5e-12));
  EXPECT_EQ(result.end, 305);
  EXPECT_EQ(result.messages, 6U);
  EXPECT_EQ(all_to_all_port_bound(3, bytes, kUnitRate), 200);
}

// 0 -> 2 takes 0-10 out and 10-20 in; 1 -> 2 takes 0-30 out and, the port being free again, 30-60 in.
TEST(MessageLevel, APortInServesInTheOrderOfArrival) {
  const std::vector<std::int64_t> bytes{0, 0, 10, 0, 0, 30, 0, 0, 0};
  EXPECT_EQ(simulate_all_to_all(3, bytes, kUnitRate, kNone).end, 60);
  EXPECT_EQ(all_to_all_port_bound(3, bytes, kUnitRate), 40);
  // 20 and 30: arrivals at 20 and 30, in 20-40 and then 40-70.
  const std::vector<std::int64_t> queued{0, 0, 20, 0, 0, 30, 0, 0, 0};
  EXPECT_EQ(simulate_all_to_all(3, queued, kUnitRate, kNone).end, 70);
}

TEST(MessageLevel, WhatStaysOnItsRankTakesNoTime) {
  const std::vector<std::int64_t> bytes{1000, 0, 0, 1000};
  const MessageLevelResult result = simulate_all_to_all(2, bytes, kUnitRate, Seconds(5e-12));
  EXPECT_EQ(result.end, 0);
  EXPECT_EQ(result.messages, 0U);
  EXPECT_EQ(all_to_all_port_bound(2, bytes, kUnitRate), 0);
}

TEST(MessageLevel, NeverBeatsThePortBound) {
  test::Dice dice(3);
  for (int round = 0; round < 50; ++round) {
    const int ranks = 1 + static_cast<int>(dice.below(12));
    std::vector<std::int64_t> bytes(static_cast<std::size_t>(ranks * ranks));
    std::int64_t largest = 0;
    for (std::int64_t& size : bytes) {
      size = dice.below(3) == 0 ? 0 : dice.below(1000);
      largest = std::max(largest, size);
    }
    const Picoseconds bound = all_to_all_port_bound(ranks, bytes, kUnitRate);
    const Picoseconds end = simulate_all_to_all(ranks, bytes, kUnitRate, kNone).end;
    EXPECT_GE(end, bound);
    EXPECT_LE(end, 2 * bound + largest);  // even if no port in worked before every port out had finished
  }
}

// 64 MiB per rank among 256 ranks at 50 GB/s: bound 255/256 of 1.342177 ms; all messages are equal, so one more.
TEST(MessageLevel, TheStarOf256Ranks) {
  constexpr std::int64_t kMessage = (std::int64_t{64} << 20) / 256;
  const std::vector<std::int64_t> bytes(256 * 256, kMessage);
  const BytesPerSecond rate(50e9);
  EXPECT_EQ(all_to_all_port_bound(256, bytes, rate), 1'336'934'400);
  EXPECT_EQ(simulate_all_to_all(256, bytes, rate, kNone).end, 1'342'177'280);
}

}  // namespace
}  // namespace moesim
