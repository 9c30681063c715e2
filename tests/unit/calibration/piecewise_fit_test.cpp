#include "calibration/piecewise_fit.hpp"

#include <gtest/gtest.h>

#include <cmath>

namespace moesim {
namespace {

TEST(PiecewiseFit, FindsThePiecesThatMadeTheTimes) {
  std::vector<TimePoint> points;
  for (double bytes = 64; bytes <= 2048; bytes *= 2) points.push_back({bytes, 5e-6 + 1e-9 * bytes});
  for (double bytes = 4096; bytes <= 1 << 20; bytes *= 2) points.push_back({bytes, 20e-6 + 0.1e-9 * bytes});
  const PiecewiseTime time = fit_pieces(points);
  ASSERT_EQ(time.pieces.size(), 2U);
  EXPECT_NEAR(time.pieces[0].alpha_s, 5e-6, 1e-9);
  EXPECT_NEAR(time.pieces[0].s_per_byte, 1e-9, 1e-12);
  EXPECT_NEAR(time.pieces[1].from_bytes, std::sqrt(2048.0 * 4096.0), 1);
  EXPECT_NEAR(time.pieces[1].alpha_s, 20e-6, 1e-9);
  EXPECT_NEAR(time.pieces[1].s_per_byte, 0.1e-9, 1e-13);
  EXPECT_EQ(time.smallest_bytes, 64);
  EXPECT_EQ(time.largest_bytes, 1 << 20);
}

TEST(PiecewiseFit, NoiseBelowOnePercentMakesNoPieces) {
  std::vector<TimePoint> points;
  double sign = 1;
  for (double bytes = 64; bytes <= 1 << 20; bytes *= 2, sign = -sign)
    points.push_back({bytes, (5e-6 + 1e-9 * bytes) * (1 + 0.005 * sign)});
  EXPECT_EQ(fit_pieces(points).pieces.size(), 1U);
}

TEST(PiecewiseFit, NoTimeIsNegative) {
  // Falling times: the best line has a negative slope, the best allowed one is flat.
  const PiecewiseTime falling = fit_pieces({{100, 3e-6}, {200, 2e-6}, {300, 1e-6}});
  for (const TimePiece& piece : falling.pieces) {
    EXPECT_GE(falling.at(piece.from_bytes).value(), 0);
    EXPECT_GE(piece.s_per_byte, 0);
  }
  // Steeper than through the origin.
  const PiecewiseTime steep = fit_pieces({{100, 1e-6}, {200, 10e-6}});
  EXPECT_EQ(steep.pieces[0].alpha_s, 0);
}

// 1 ns/B up to 1 MiB and 10 ns/B beyond: the second line would pass below 0 at the origin.
TEST(PiecewiseFit, FollowsACacheThatOverflows) {
  std::vector<TimePoint> points;
  for (double bytes = 1024; bytes <= 1 << 20; bytes *= 2) points.push_back({bytes, 1e-9 * bytes});
  const double knee = (1 << 20) * 1e-9;
  for (double bytes = 1 << 21; bytes <= 1 << 26; bytes *= 2)
    points.push_back({bytes, knee + 10e-9 * (bytes - (1 << 20))});
  const PiecewiseTime time = fit_pieces(points);
  ASSERT_EQ(time.pieces.size(), 2U);
  EXPECT_NEAR(time.pieces[1].s_per_byte, 10e-9, 1e-12);
  EXPECT_LT(time.pieces[1].alpha_s, 0);
  for (const TimePoint& point : points) EXPECT_NEAR(time.at(point.bytes).value() / point.seconds, 1, 1e-6);
  EXPECT_GE(time.at(time.pieces[1].from_bytes).value(), 0);
}

TEST(PiecewiseFit, OnePointIsAStartUp) {
  const PiecewiseTime time = fit_pieces({{1024, 7e-6}});
  EXPECT_DOUBLE_EQ(time.at(1024).value(), 7e-6);
}

}  // namespace
}  // namespace moesim
