#include "sim/placement/layer_time.hpp"

#include "placement_testing.hpp"
#include "sim/placement/layer_fit.hpp"
#include "sim/placement/oracle.hpp"

namespace moesim {
namespace {

PlacementDecision still(const PlacementSizes& sizes) {
  return {ExpertPlacement::contiguous(sizes), {}, TokenSplit::kLocality};
}

TEST(LayerTime, WorkedExample) {
  const LayerTimeModel model = one_tier_model(2);
  const OwnedCounts counts{{5, 3, 4, 6}, 2, 2};
  const LayerTime time = LayerTimer(model).time(counts.view(), still({2, 2, 1}));
  EXPECT_EQ(time.compute, Seconds(9));
  EXPECT_EQ(time.exchange, Seconds(16));
  EXPECT_EQ(time.total(), Seconds(25));
  EXPECT_EQ(time.max_over_mean, 1);
}

TEST(LayerTime, SlotsExchangeOneAfterTheOther) {
  LayerTimeModel model = one_tier_model(2);
  // Experts {0, 1 | 2, 3}; device 0 sends {3, 1} to device 1's slots, device 1 sends {2, 7} to device 0's.
  const OwnedCounts counts{{0, 0, 3, 1, 2, 7, 0, 0}, 2, 4};
  EXPECT_EQ(LayerTimer(model).time(counts.view(), still({2, 4, 2})).exchange, Seconds(4 * 9));
  model.rounds = ExchangeRounds::kPerSlot;
  EXPECT_EQ(LayerTimer(model).time(counts.view(), still({2, 4, 2})).exchange, Seconds(4 * (3 + 7)));
}

TEST(LayerTime, DevicesOfANodeShareItsNic) {
  const LayerTimeModel model = two_tier_model(4, 2, 1, 1);
  // Experts one a device; devices 0 and 1 send 5 copies each to device 2, and 1 to each other.
  const OwnedCounts counts{{0, 1, 5, 0, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 4, 4};
  EXPECT_EQ(LayerTimer(model).time(counts.view(), still({4, 4, 1})).exchange, Seconds(4 * 10));
}

TEST(LayerTime, BusyExpertsSpeedsAndShadows) {
  LayerTimeModel model = one_tier_model(2);
  model.rows_per_busy_expert = 10;
  model.speed = {1, 0.5};
  model.fixed = Seconds(2);
  model.shadow = Seconds(7);
  const OwnedCounts counts{{4, 0, 0, 8, 0, 0, 0, 8}, 2, 4};
  // Device 1: 16 rows and one busy expert at half speed.
  EXPECT_EQ(LayerTimer(model).time(counts.view(), still({2, 4, 2})).compute, Seconds(52));
  PlacementDecision shadowed = still({2, 4, 2});
  shadowed.shadowed = {3};
  const LayerTime time = LayerTimer(model).time(counts.view(), shadowed);
  EXPECT_EQ(time.compute, Seconds(36));  // device 1: 8 rows of its own
  EXPECT_EQ(time.exchange, Seconds(0));
  EXPECT_EQ(time.rest, Seconds(9));
}

TEST(LayerTime, AMeshLimitsThePair) {
  LayerTimeModel model = one_tier_model(3);
  model.tiers.front().pair_s_per_byte = 4;
  const OwnedCounts counts{{0, 3, 3, 0, 0, 0, 0, 0, 0}, 3, 3};
  EXPECT_EQ(LayerTimer(model).time(counts.view(), still({3, 3, 1})).exchange, Seconds(4 * 12));
}

TEST(TimeCurve, StraightBetweenPointsAndBeyond) {
  const TimeCurve curve{{0, 10, 20}, {1, 3, 4}};
  EXPECT_DOUBLE_EQ(curve.at(5), 2);
  EXPECT_DOUBLE_EQ(curve.at(10), 3);
  EXPECT_DOUBLE_EQ(curve.at(40), 6);
}

// One expert has 18 of 20 copies: 18 s on whichever device, or 10 s where it is shadowed or may be copied.
TEST(Oracle, TheHottestExpertIsOnOneDeviceWithoutRoomForCopies) {
  LayerTimeModel model = one_tier_model(2);
  model.exchanges = 0;
  model.shadow = Seconds(100);
  const OwnedCounts counts{{9, 1, 9, 1}, 2, 2};
  EXPECT_EQ(OracleTimer(model, 1).time(counts.view()), Seconds(18));
  EXPECT_EQ(OracleTimer(model, 2).time(counts.view()), Seconds(10));
  model.shadow = Seconds(1);
  EXPECT_EQ(OracleTimer(model, 1).time(counts.view()), Seconds(11));
}

TEST(Oracle, WorkedExample) {
  LayerTimeModel model = one_tier_model(2);
  model.shadow = Seconds(100);
  const OwnedCounts counts{{5, 3, 4, 6}, 2, 2};
  EXPECT_EQ(OracleTimer(model, 1).time(counts.view()), Seconds(25));
  EXPECT_EQ(OracleTimer(model, 2).time(counts.view()), Seconds(9));  // everything can stay
  model.shadow = Seconds(1);
  EXPECT_EQ(OracleTimer(model, 1).time(counts.view()), Seconds(10));  // one shadow, nothing sent
}

// No random placement of random counts, with copies and shadows, takes less.
TEST(Oracle, IsNeverBeaten) {
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    Pcg32 random(seed);
    LayerTimeModel model = two_tier_model(8, 4, 1, seed % 2 == 0 ? 1 : 0.2);
    model.rows_per_busy_expert = seed % 3 == 0 ? 50 : 0;
    model.shadow = Seconds(random.below(3000));
    const PlacementSizes sizes{8, 16, 3};
    std::vector<std::int32_t> slots;
    for (int s = 0; s < 24; ++s)
      slots.push_back(s % 3 == 2 ? static_cast<std::int32_t>(random.below(17)) - 1 : s - s / 3);
    for (int i = 0; i < 24; ++i) std::swap(slots[random.below(24)], slots[random.below(24)]);
    const OwnedCounts counts = random_counts(8, 16, seed);
    const Seconds oracle = OracleTimer(model, 3).time(counts.view());
    LayerTimer timer(model);
    for (const TokenSplit split : {TokenSplit::kEven, TokenSplit::kLocality, TokenSplit::kMinMax})
      for (const std::vector<std::int32_t>& shadowed : {std::vector<std::int32_t>{}, std::vector<std::int32_t>{0, 5}})
        EXPECT_GE(timer.time(counts.view(), {placed(sizes, slots), shadowed, split}).total().value(),
                  oracle.value() * (1 - 1e-9));
  }
}

TEST(LayerFit, FindsWhatMadeTheTimes) {
  const PlacementSizes sizes{4, 8, 2};
  const ExpertPlacement placement = ExpertPlacement::contiguous(sizes);
  LayerTimeModel truth = one_tier_model(4);
  truth.fixed = Seconds(500);
  truth.rows_per_busy_expert = 400;
  truth.rounds = ExchangeRounds::kPerSlot;
  std::vector<OwnedCounts> counts;
  std::vector<MeasuredLayer> rows;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) counts.push_back(random_counts(4, 8, seed));
  for (const OwnedCounts& c : counts)
    rows.push_back(
        {c.view(), &placement, LayerTimer(truth).time(c.view(), {placement, {}, TokenSplit::kEven}).total()});
  const Result<LayerFit> fit = fit_layer_time(rows, {0, 0, 0, 0}, {});
  ASSERT_TRUE(fit.has_value());
  EXPECT_LT(fit->mean_error, 1e-6);
  EXPECT_EQ(fit->model.rounds, ExchangeRounds::kPerSlot);
  EXPECT_EQ(fit->model.rows_per_busy_expert, 400);
  EXPECT_NEAR(fit->per_row.value(), 1, 1e-6);
  EXPECT_NEAR(fit->per_copy.value(), 4, 1e-6);
  EXPECT_NEAR(fit->model.fixed.value(), 500, 1e-3);
  const Result<LayerFit> knowing = fit_layer_time(rows, {0, 0, 0, 0}, {.per_row = Seconds(1)});
  ASSERT_TRUE(knowing.has_value());
  EXPECT_EQ(knowing->per_row, Seconds(1));
  EXPECT_NEAR(knowing->per_copy.value(), 4, 1e-6);
  EXPECT_FALSE(fit_layer_time({rows.data(), 3}, {0, 0, 0, 0}, {}).has_value());
  rows.front().time = Seconds(1e-320);
  EXPECT_FALSE(fit_layer_time(rows, {0, 0, 0, 0}, {}).has_value());
  rows.front().time = Seconds(0);
  EXPECT_FALSE(fit_layer_time(rows, {0, 0, 0, 0}, {}).has_value());
}

}  // namespace
}  // namespace moesim
