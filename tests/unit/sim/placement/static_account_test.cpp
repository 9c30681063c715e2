// When what was promised did not come: stopping a policy, and letting it come back.
#include "sim/placement/static_account.hpp"

#include "placement_testing.hpp"
#include "sim/placement/replay.hpp"

namespace moesim {
namespace {

// As in the header.
TEST(StaticAccount, WorkedExample) {
  StaticAccount account;
  account.add(10, Seconds(5), Seconds(5), Seconds(5));
  EXPECT_FALSE(account.must_stop());
  account.add(10, Seconds(5), Seconds(8), Seconds(8));
  EXPECT_TRUE(account.must_stop());
  account.stop();
  EXPECT_FALSE(account.must_stop());
  account.add(10, Seconds(5), Seconds(5), Seconds(3));
  EXPECT_FALSE(account.may_return(Seconds(0)));
  account.add(10, Seconds(5), Seconds(5), Seconds(3));
  EXPECT_FALSE(account.may_return(Seconds(10)));
  EXPECT_TRUE(account.may_return(Seconds(9)));
  account.pay_on_paper(Seconds(1));
  EXPECT_FALSE(account.may_return(Seconds(9)));
  account.come_back();
  account.add(10, Seconds(5), Seconds(3), Seconds(3));  // -10
  account.add(10, Seconds(5), Seconds(6), Seconds(6));  // -20, above the floor
  EXPECT_FALSE(account.must_stop());
  account.add(10, Seconds(5), Seconds(7), Seconds(7));  // -40
  EXPECT_TRUE(account.must_stop());
  // Even again: from then on every loss counts.
  StaticAccount even;
  even.add(1, Seconds(5), Seconds(6), Seconds(6));
  even.stop();
  even.come_back();
  even.add(1, Seconds(5), Seconds(3), Seconds(3));
  even.add(1, Seconds(5), Seconds(6), Seconds(6));  // 0
  EXPECT_FALSE(even.must_stop());
  even.add(1, Seconds(5), Seconds(6), Seconds(6));
  EXPECT_TRUE(even.must_stop());
}

// Two devices, experts {0, 1 | 2, 3}; the two hot ones of every record take 8 rows each, the others 2. First those that stand together, at
// 48 s; then those that greedy has just put together, 48 s for the 30 s that static takes; from then on the first two again.
//   iteration  hot      placement          time   account
//   0          0, 1     static             48 s   0
//   10         0, 3     {0, 3 | 1, 2}      48 s   10 * (30 - 48) = -180 s
//   20, 30     0, 1     static, stopped    48 s   on paper 30 s: 180 s a record are gained
//   40 on      0, 1     as on paper        30 s
// A switch takes 8 s. On paper the decision of iteration 20 parts 0 and 3 again, and 0 and 1 by the way; one record of it does not make
// up for 180 s and the switch back, two do.
TEST(StaticAccount, ALayerStopsAndComesBack) {
  std::vector<std::int64_t> iterations;
  for (int step = 0; step < 8; ++step) iterations.push_back(10 * step);
  SelectionTrace trace(iterations, {0}, {0}, {0, 1}, 4);
  for (int step = 0; step < 8; ++step)
    for (int rank = 0; rank < 2; ++rank) {
      const auto row = trace.counts(step, 0, 0, rank);
      std::fill(row.begin(), row.end(), 1U);
      row[0] = row[step == 1 ? 3 : 1] = 4;
    }
  Result<ReplayTrace> mapped = ReplayTrace::map(trace, {.devices = 2, .top_k = 2});
  ASSERT_TRUE(mapped) << mapped.error().what;
  const LayerTimeModel model = one_tier_model(2);
  PlacementReplayOptions options;
  const PlacementPolicy& greedy = **find_placement_policy("greedy");
  const PolicyReplay watched = replay_policy(*mapped, model, greedy, options);
  options.accept = AcceptRule::kPromise;
  const PolicyReplay trusting = replay_policy(*mapped, model, greedy, options);
  EXPECT_EQ(trusting.stops, 0);
  EXPECT_EQ(watched.stops, 1);
  const auto times = [](const PolicyReplay& replay) {
    std::vector<double> seconds;
    for (const ReplayStep& step : replay.steps) seconds.push_back(step.iteration.value());
    return seconds;
  };
  EXPECT_EQ(times(watched), (std::vector<double>{48, 48, 48, 48, 30, 30, 30, 30}));
  EXPECT_EQ(times(trusting), (std::vector<double>{48, 48, 30, 30, 30, 30, 30, 30}));
}

}  // namespace
}  // namespace moesim
