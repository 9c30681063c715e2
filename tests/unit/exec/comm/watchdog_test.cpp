#include "exec/comm/watchdog.hpp"

#include <gtest/gtest.h>

namespace moesim {
namespace {

struct FakeTime {
  Seconds now{100};
  Clock clock() {
    return [this] { return now; };
  }
};

TEST(Watchdog, GivesUpWhenTheDeadlineHasPassed) {
  FakeTime time;
  Watchdog watchdog(time.clock(), Seconds(16));
  for (int i = 0; i < 32; ++i) {
    time.now += Seconds(0.5);
    EXPECT_FALSE(watchdog.idle_for_too_long()) << i;  // up to and including 16 s
  }
  time.now += Seconds(0.5);
  EXPECT_TRUE(watchdog.idle_for_too_long());
}

TEST(Watchdog, BeginsAgainWhenSomethingMoves) {
  FakeTime time;
  Watchdog watchdog(time.clock(), Seconds(2));
  for (int i = 0; i < 100; ++i) {
    time.now += Seconds(0.1);
    if (i % 10 == 0)
      watchdog.moved();
    else
      EXPECT_FALSE(watchdog.idle_for_too_long());
  }
}

// One long computation between two looks is 1/16 of the deadline: the 17th look is one too many.
TEST(Watchdog, DoesNotCountTimeInWhichNobodyLooked) {
  FakeTime time;
  Watchdog watchdog(time.clock(), Seconds(16));
  for (int look = 1; look <= 16; ++look) {
    time.now += Seconds(1000);
    EXPECT_FALSE(watchdog.idle_for_too_long()) << look;
  }
  time.now += Seconds(1000);
  EXPECT_TRUE(watchdog.idle_for_too_long());
}

}  // namespace
}  // namespace moesim
