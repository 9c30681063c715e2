#include "sim/report/progress.hpp"

#include <gtest/gtest.h>

namespace moesim {
namespace {

TEST(ProgressMeter, SaysNothingInTheFirstSecond) {
  ProgressMeter meter("search", ProgressPlace::kTerminal);
  EXPECT_EQ(meter.update(Seconds(0.2), 10, 100), std::nullopt);
  EXPECT_EQ(meter.update(Seconds(0.99), 50, 100), std::nullopt);
  EXPECT_FALSE(meter.shown_anything());
  EXPECT_TRUE(meter.update(Seconds(1.0), 51, 100).has_value());
  EXPECT_TRUE(meter.shown_anything());
}

// 100 per second all along: two samples of the recent rate agree with the overall one after the second update.
TEST(ProgressMeter, EtaOnceTheRateIsSteady) {
  ProgressMeter meter("", ProgressPlace::kTerminal);
  EXPECT_EQ(meter.update(Seconds(1), 100, 1000), "10 %  100/1000  100/s");
  EXPECT_EQ(meter.update(Seconds(2), 200, 1000), "20 %  200/1000  100/s  8 s left");
  EXPECT_EQ(meter.update(Seconds(10), 1000, 1000), "100 %  1000/1000  100/s");
}

TEST(ProgressMeter, NoEtaWhileTheRateMoves) {
  ProgressMeter meter("", ProgressPlace::kTerminal);
  static_cast<void>(meter.update(Seconds(1), 100, 10000));
  // 900 in the last second against 500 per second overall.
  EXPECT_EQ(meter.update(Seconds(2), 1000, 10000), "10 %  1000/10000  500/s");
}

TEST(ProgressMeter, NoEtaBeyondBelief) {
  ProgressMeter meter("", ProgressPlace::kTerminal);
  static_cast<void>(meter.update(Seconds(1), 1, 1'000'000));
  EXPECT_EQ(meter.update(Seconds(2), 2, 1'000'000), "0 %  2/1000000  1.00/s");  // 278 hours
}

TEST(ProgressMeter, TerminalTenTimesASecondLogEveryTenSeconds) {
  ProgressMeter terminal("", ProgressPlace::kTerminal);
  EXPECT_TRUE(terminal.update(Seconds(1.0), 1, 0).has_value());
  EXPECT_FALSE(terminal.update(Seconds(1.05), 2, 0).has_value());
  EXPECT_TRUE(terminal.update(Seconds(1.11), 3, 0).has_value());
  ProgressMeter log("", ProgressPlace::kLog);
  EXPECT_FALSE(log.update(Seconds(9.9), 1, 0).has_value());
  EXPECT_TRUE(log.update(Seconds(10), 2, 0).has_value());
  EXPECT_FALSE(log.update(Seconds(19.9), 3, 0).has_value());
  EXPECT_TRUE(log.update(Seconds(20), 4, 0).has_value());
}

// 100 per second at first, then a second thing is counted at 10 per second: neither rate nor ETA mixes the two.
TEST(ProgressMeter, EveryStageHasItsOwnRate) {
  ProgressMeter meter("rank", ProgressPlace::kTerminal);
  static_cast<void>(meter.update(Seconds(1), 100, 1000, "bounding"));
  EXPECT_EQ(meter.update(Seconds(2), 200, 1000, "bounding"), "rank: bounding  20 %  200/1000  100/s  8 s left");
  EXPECT_EQ(meter.update(Seconds(10), 0, 50, "replaying"), "rank: replaying  0 %  0/50");
  EXPECT_EQ(meter.update(Seconds(11), 10, 50, "replaying"), "rank: replaying  20 %  10/50  10/s");
  EXPECT_EQ(meter.update(Seconds(12), 20, 50, "replaying"), "rank: replaying  40 %  20/50  10/s  3 s left");
}

TEST(ProgressMeter, UnknownTotal) {
  ProgressMeter meter("reading", ProgressPlace::kTerminal);
  EXPECT_EQ(meter.update(Seconds(2), 3'000'000, 0), "reading  3000000  1.5 M/s");
}

}  // namespace
}  // namespace moesim
