#include "base/units.hpp"

#include <gtest/gtest.h>

#include "base/ids.hpp"

namespace moesim {
namespace {

using namespace literals;

TEST(Units, BytesOverRateIsTime) {
  EXPECT_DOUBLE_EQ((Bytes(100'000'000'000) / 50.0_GBps).value(), 2.0);
  EXPECT_DOUBLE_EQ((Flops(989e12) / 989.0_TFLOPS).value(), 1.0);
}

TEST(Units, GibibytesAreNotGigabytes) { EXPECT_EQ(80_GiB, Bytes(85'899'345'920)); }

TEST(Units, RoundsUpToWholeBytes) {
  EXPECT_EQ(round_up_to_bytes(2.0).count(), 2);
  EXPECT_EQ(round_up_to_bytes(2.25).count(), 3);
}

template <class A, class B>
concept Comparable = requires(A a, B b) {
  a == b;
};

TEST(Units, UnlikeThingsDoNotMix) {
  static_assert(!Comparable<Seconds, BytesPerSecond>);
  static_assert(!Comparable<RankId, ExpertId>);
  static_assert(Comparable<RankId, RankId>);
  EXPECT_FALSE(RankId().valid());
  EXPECT_TRUE(RankId(0).valid());
}

}  // namespace
}  // namespace moesim
