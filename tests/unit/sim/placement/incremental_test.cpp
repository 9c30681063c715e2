#include "placement_testing.hpp"
#include "sim/placement/greedy_placement.hpp"
#include "sim/placement/incremental_time.hpp"
#include "sim/placement/local_search.hpp"

namespace moesim {
namespace {

TEST(IncrementalLayerTime, EqualsTheWholeCountAfterEverySwap) {
  for (const ExchangeRounds rounds : {ExchangeRounds::kFused, ExchangeRounds::kPerSlot})
    for (std::uint64_t seed = 1; seed <= 10; ++seed) {
      LayerTimeModel model = two_tier_model(8, 4, 1, 0.4);
      model.rounds = rounds;
      model.rows_per_busy_expert = 30;
      model.speed[2] = 0.7;
      if (seed % 2 == 0) model.tiers.front().pair_s_per_byte = 3;
      const PlacementSizes sizes{8, 16, 3};
      const OwnedCounts counts = random_counts(8, 16, seed);
      const std::vector<double> real = counts.real();
      IncrementalLayerTime layer(model, {real, 8, 16}, ExpertPlacement::contiguous(sizes));
      LayerTimer timer(model);
      Pcg32 random(seed);
      for (int i = 0; i < 100; ++i) {
        layer.swap(static_cast<int>(random.below(24)), static_cast<int>(random.below(24)));
        const ExpertPlacement now = placed(sizes, {layer.expert_of_slot().begin(), layer.expert_of_slot().end()});
        const double whole = timer.time(counts.view(), {now, {}, TokenSplit::kLocality}).total().value();
        ASSERT_NEAR(layer.time().value() / whole, 1, 1e-12) << "seed " << seed << ", swap " << i;
      }
    }
}

TEST(IncrementalLayerTime, EqualsTheWholeCountAfterEveryShadow) {
  LayerTimeModel model = two_tier_model(8, 4, 1, 0.4);
  model.rows_per_busy_expert = 30;
  model.shadow = Seconds(11);
  const OwnedCounts counts = random_counts(8, 16, 5);
  const std::vector<double> real = counts.real();
  PlacementDecision decision{ExpertPlacement::contiguous({8, 16, 2}), {}, TokenSplit::kLocality};
  IncrementalLayerTime layer(model, {real, 8, 16}, decision.placement);
  for (std::int32_t e = 0; e < 16; ++e) {
    layer.shadow(decision.placement.slots_of(e).front());
    decision.shadowed.push_back(e);
    ASSERT_NEAR(layer.time() / LayerTimer(model).time(counts.view(), decision).total(), 1, 1e-12) << e;
  }
}

TEST(IncrementalLayerTime, ASwapAndItsReverseChangeNothing) {
  const LayerTimeModel model = one_tier_model(2);
  const std::vector<double> counts = {5, 3, 1, 0, 4, 6, 2, 2};
  IncrementalLayerTime layer(model, {counts, 2, 4}, ExpertPlacement::contiguous({2, 4, 2}));
  const Seconds before = layer.time();
  EXPECT_EQ(before, Seconds(18 + 4 * 10));
  layer.swap(1, 2);
  EXPECT_EQ(layer.time(), Seconds(12 + 4 * 6));  // {0, 2 | 1, 3}: 12 and 11 rows, 6 copies to device 0, 3 to device 1
  layer.swap(1, 2);
  EXPECT_EQ(layer.time(), before);
  EXPECT_GE(layer.smoothed(), before);
}

TEST(LocalSearch, NoPermutationBeatsItsBound) {
  const LayerTimeModel worked = one_tier_model(2);
  const std::vector<double> few = {6, 1, 3, 0};
  EXPECT_EQ(least_time_without_copies(worked, {few, 2, 2}), Seconds(9 + 4 * 3));
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    const LayerTimeModel model = two_tier_model(8, 4, 1, seed % 2 == 0 ? 2 : 0.3);
    const OwnedCounts counts = random_counts(8, 16, seed);
    const std::vector<double> real = counts.real();
    Pcg32 random(seed);
    std::vector<std::int32_t> slots(16);
    for (std::size_t i = 0; i < 16; ++i) slots[i] = static_cast<std::int32_t>(i);
    for (int i = 0; i < 40; ++i) std::swap(slots[random.below(16)], slots[random.below(16)]);
    EXPECT_GE(LayerTimer(model).time(counts.view(), {placed({8, 16, 2}, slots), {}, TokenSplit::kLocality}).total(),
              least_time_without_copies(model, {real, 8, 16}));
  }
}

// Tokens of a node want the experts of a node, but numbered so that neighbours belong to different nodes. All loads are equal, so
// greedy has nothing to do, while everything crosses the NICs.
TEST(LocalSearch, BeatsGreedyWhereTheNicDecides) {
  constexpr int kDevices = 16;
  constexpr int kNode = 4;
  constexpr int kExperts = 32;
  const LayerTimeModel model = two_tier_model(kDevices, kNode, 0.1, 1);
  OwnedCounts counts{{}, kDevices, kExperts};
  for (int source = 0; source < kDevices; ++source)
    for (int e = 0; e < kExperts; ++e) counts.counts.push_back(e % 4 == source / kNode ? 100 : 5);
  const std::vector<double> real = counts.real();
  const PredictedCounts predicted{real, kDevices, kExperts};
  const ExpertPlacement start = ExpertPlacement::contiguous({kDevices, kExperts, 2});
  const ExpertPlacement greedy = greedy_placement(expert_totals(predicted), start, {});
  const LocalSearchResult found = search_placement(model, predicted, greedy, {.candidates = 20'000});
  LayerTimer timer(model);
  const double of_greedy = timer.time(counts.view(), {greedy, {}, TokenSplit::kLocality}).total().value();
  const double of_search = timer.time(counts.view(), {found.placement, {}, TokenSplit::kLocality}).total().value();
  EXPECT_NEAR(of_search, found.time.value(), 1e-9 * of_search);
  // The best has every node hold its own experts: 3 nodes x 4 devices x 8 experts x 5 copies out of each node.
  const double best = timer
                          .time(counts.view(), {placed({kDevices, kExperts, 2}, {0, 4, 8,  12, 16, 20, 24, 28,  //
                                                                                 1, 5, 9,  13, 17, 21, 25, 29,  //
                                                                                 2, 6, 10, 14, 18, 22, 26, 30,  //
                                                                                 3, 7, 11, 15, 19, 23, 27, 31}),
                                                {},
                                                TokenSplit::kLocality})
                          .total()
                          .value();
  EXPECT_LT(of_search, 0.6 * of_greedy);
  EXPECT_GE(of_search, best);
  EXPECT_LT(of_search, 1.2 * best);
}

}  // namespace
}  // namespace moesim
