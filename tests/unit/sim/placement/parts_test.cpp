// Placements, routing, min-max division, switches and predictions, each with values worked out by hand.
#include <algorithm>
#include <numeric>

#include "placement_testing.hpp"
#include "sim/placement/min_max_split.hpp"
#include "sim/placement/predictor.hpp"
#include "sim/placement/switch_plan.hpp"

namespace moesim {
namespace {

constexpr std::int32_t kNone = kEmptySlot;

TEST(ExpertPlacement, ContiguousFillsTheFirstSlots) {
  const ExpertPlacement placement = ExpertPlacement::contiguous({2, 4, 3});
  EXPECT_EQ(std::vector<std::int32_t>(placement.expert_of_slot().begin(), placement.expert_of_slot().end()),
            (std::vector<std::int32_t>{0, 1, kNone, 2, 3, kNone}));
  EXPECT_TRUE(placement.is_permutation());
  EXPECT_TRUE(placement.holds(1, 3));
  EXPECT_FALSE(placement.holds(1, 1));
}

TEST(ExpertPlacement, CopiesAreListedBySlot) {
  const ExpertPlacement placement = placed({2, 4, 3}, {0, 1, kNone, 2, 3, 0});
  EXPECT_EQ(placement.copies(0), 2);
  EXPECT_EQ(placement.slots_of(0)[1], 5);
  EXPECT_FALSE(placement.is_permutation());
}

TEST(ExpertPlacement, RefusesWhatLosesAnExpert) {
  EXPECT_EQ(ExpertPlacement::make({2, 4, 2}, {0, 1, 2, 2}).error().what, "expert 3 stands in no slot");
  EXPECT_EQ(ExpertPlacement::make({2, 4, 2}, {0, 1, 2, 4}).error().what, "slot 3 holds expert 4 of 4");
  EXPECT_EQ(ExpertPlacement::make({2, 4, 2}, {0, 1, 2}).error().what, "3 slots are given, there are 4");
  EXPECT_EQ(ExpertPlacement::make({2, 5, 2}, {0, 1, 2, 3}).error().what,
            "2 devices of 2 slots have no room for 5 experts");
}

TEST(TokenRouting, WhoSendsWhatToWhom) {
  const OwnedCounts counts{{6, 2, 3, 5}, 2, 2};
  TokenRouter router({0, 0});
  const RoutedCopies& copies =
      router.route(counts.view(), {ExpertPlacement::contiguous({2, 2, 1}), {}, TokenSplit::kLocality});
  EXPECT_EQ(copy_matrix(copies), (std::vector<double>{6, 2, 3, 5}));
  EXPECT_EQ(device_rows(copies), (std::vector<double>{9, 7}));
}

TEST(TokenRouting, CopiesAreSharedByNearness) {
  // Expert 0 on devices 0 and 3; nodes {0, 1} and {2, 3}; every source has 12 for expert 0, nothing for the others.
  const PlacementSizes sizes{4, 4, 2};
  const ExpertPlacement placement = placed(sizes, {0, kNone, 1, kNone, 2, kNone, 3, 0});
  OwnedCounts counts{std::vector<std::int32_t>(16, 0), 4, 4};
  for (std::size_t source = 0; source < 4; ++source) counts.counts[source * 4] = 12;
  TokenRouter router({0, 0, 1, 1});
  EXPECT_EQ(copy_matrix(router.route(counts.view(), {placement, {}, TokenSplit::kLocality})),
            (std::vector<double>{12, 0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 12, 0, 0, 0, 12}));
  EXPECT_EQ(copy_matrix(router.route(counts.view(), {placement, {}, TokenSplit::kEven})),
            (std::vector<double>{6, 0, 0, 6, 6, 0, 0, 6, 6, 0, 0, 6, 6, 0, 0, 6}));
  EXPECT_EQ(device_rows(router.route(counts.view(), {placement, {0}, TokenSplit::kEven})),
            (std::vector<double>{12, 12, 12, 12}));  // shadowed: everybody its own
}

TEST(TokenRouting, NoCopyIsLostOrMadeUp) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    Pcg32 random(seed);
    const PlacementSizes sizes{8, 16, 4};
    std::vector<std::int32_t> slots;
    for (int s = 0; s < 32; ++s) slots.push_back(s % 2 == 0 ? s / 2 : static_cast<std::int32_t>(random.below(17)) - 1);
    const OwnedCounts counts = random_counts(8, 16, seed);
    const double all = std::accumulate(counts.counts.begin(), counts.counts.end(), 0.0);
    TokenRouter router({0, 0, 0, 0, 1, 1, 1, 1});
    for (const TokenSplit split : {TokenSplit::kEven, TokenSplit::kLocality, TokenSplit::kMinMax}) {
      const RoutedCopies& copies = router.route(counts.view(), {placed(sizes, slots), {3, 7}, split});
      const std::vector<double> matrix = copy_matrix(copies);
      for (int source = 0; source < 8; ++source) {
        const auto row = counts.view().of(source);
        EXPECT_NEAR(std::accumulate(matrix.begin() + source * 8, matrix.begin() + source * 8 + 8, 0.0),
                    std::accumulate(row.begin(), row.end(), 0.0), 1e-6 * all);
      }
      EXPECT_TRUE(std::all_of(matrix.begin(), matrix.end(), [](double copies_sent) { return copies_sent >= 0; }));
    }
  }
}

TEST(MinMaxSplit, WorkedExample) {
  MinMaxSplit split;
  const std::vector<double> totals = {9, 1, 2};
  EXPECT_NEAR(split.divide(placed({3, 3, 2}, {0, kNone, 0, 1, 2, kNone}), totals), 5, 1e-9);
  EXPECT_NEAR(split.per_slot()[0], 5, 1e-6);
  EXPECT_NEAR(split.per_slot()[2], 4, 1e-6);
}

// The least level is the largest, over sets of devices, of the load that has nowhere else to go over their number (max-flow,
// min-cut): tried for all sets.
TEST(MinMaxSplit, IsTheLeastThatAnySetOfDevicesAllows) {
  MinMaxSplit split;
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    Pcg32 random(seed);
    std::vector<std::int32_t> slots;
    for (int s = 0; s < 18; ++s) slots.push_back(s % 3 == 0 ? s / 3 : static_cast<std::int32_t>(random.below(7)) - 1);
    const ExpertPlacement placement = placed({6, 6, 3}, slots);
    std::vector<double> totals;
    for (int e = 0; e < 6; ++e) totals.push_back(random.below(1000));
    double least = 0;
    for (unsigned set = 1; set < 64; ++set) {
      double load = 0;
      for (int e = 0; e < 6; ++e) {
        bool inside = true;
        for (const std::int32_t slot : placement.slots_of(e))
          inside = inside && ((set >> placement.device_of_slot(slot)) & 1U) != 0;
        if (inside) load += totals[static_cast<std::size_t>(e)];
      }
      least = std::max(least, load / __builtin_popcount(set));
    }
    EXPECT_NEAR(split.divide(placement, totals), least, 1e-5) << "seed " << seed;
    const auto shares = split.per_slot();
    EXPECT_NEAR(std::accumulate(shares.begin(), shares.end(), 0.0), std::accumulate(totals.begin(), totals.end(), 0.0),
                1e-6);
  }
}

TEST(SwitchPlan, TwoExpertsChangePlaces) {
  const LayerTimeModel model = one_tier_model(2);  // 3 B of weights, 5 B of state
  const ExpertPlacement before = ExpertPlacement::contiguous({2, 2, 1});
  const ExpertPlacement after = placed({2, 2, 1}, {1, 0});
  const SwitchPlan plan = plan_switch(model, before, first_homes(before), after, OptimizerState::kMoves);
  EXPECT_EQ(plan.transfers, (std::vector<ExpertTransfer>{
                                {0, 0, 1, Bytes(3)}, {0, 0, 1, Bytes(5)}, {1, 1, 0, Bytes(3)}, {1, 1, 0, Bytes(5)}}));
  EXPECT_EQ(plan.moves, 2);
  EXPECT_EQ(plan.homes, (std::vector<std::int32_t>{1, 0}));
  EXPECT_EQ(switch_seconds(model, plan, SwitchOrder::kSerial), Seconds(16));
  EXPECT_EQ(switch_seconds(model, plan, SwitchOrder::kBatched), Seconds(8));
  const SwitchPlan light = plan_switch(model, before, first_homes(before), after, OptimizerState::kStays);
  EXPECT_EQ(light.bytes(), Bytes(6));
}

TEST(SwitchPlan, ACopyComesFromItsOwnNodeAndTheStateStays) {
  const LayerTimeModel model = two_tier_model(4, 2, 1, 1);
  const PlacementSizes sizes{4, 2, 1};
  const ExpertPlacement before = placed(sizes, {0, 1, 0, kNone});
  const SwitchPlan plan =
      plan_switch(model, before, first_homes(before), placed(sizes, {0, 1, kNone, 0}), OptimizerState::kMoves);
  EXPECT_EQ(plan.transfers, (std::vector<ExpertTransfer>{{0, 2, 3, Bytes(3)}}));
  EXPECT_EQ(plan.homes.front(), 0);
}

// Ranks that each have a port of 1 B/s.
CutReplicas replicas_of(const LayerTimeModel& model, int replicas, std::vector<std::int64_t> matrices) {
  const LayerTimeModel wide = one_tier_model(model.devices() * replicas);
  return {replicas, std::move(matrices), wide.tiers, {std::vector<std::int32_t>(wide.speed.size(), 0)}};
}

TEST(SwitchPlan, EachReplicaSendsItsPart) {
  LayerTimeModel model = one_tier_model(2);
  model.cut = replicas_of(model, 5, {5});
  model.expert.weights = Bytes(10);
  const ExpertPlacement before = ExpertPlacement::contiguous({2, 2, 1});
  const ExpertPlacement after = placed({2, 2, 1}, {1, 0});
  const SwitchPlan plan = plan_switch(model, before, first_homes(before), after, OptimizerState::kMoves);
  EXPECT_EQ(plan.moves, 2);
  EXPECT_EQ(plan.bytes(), Bytes(2 * (10 + 5)));
  EXPECT_EQ(switch_seconds(model, plan, SwitchOrder::kBatched), Seconds(2 + 1));
  const SwitchPlan light = plan_switch(model, before, first_homes(before), after, OptimizerState::kStays);
  EXPECT_EQ(light.bytes(), Bytes(2 * 10));
}

// Experts 0 and 1 of one device change places: 10 B of weights and 5 of state, of 4 + 1 numbers, change replicas.
TEST(SwitchPlan, PartsMoveInsideADevice) {
  LayerTimeModel model = one_tier_model(2);
  model.expert.weights = Bytes(10);
  model.cut = replicas_of(model, 2, {4, 1});
  const PlacementSizes sizes{2, 4, 2};
  const ExpertPlacement before = ExpertPlacement::contiguous(sizes);
  const SwitchPlan plan =
      plan_switch(model, before, first_homes(before), placed(sizes, {1, 0, 2, 3}), OptimizerState::kMoves);
  EXPECT_EQ(plan.transfers, (std::vector<ExpertTransfer>{{0, 0, 2, Bytes(8)},
                                                         {0, 0, 2, Bytes(2)},
                                                         {0, 0, 2, Bytes(4)},
                                                         {0, 0, 2, Bytes(1)},
                                                         {1, 2, 0, Bytes(8)},
                                                         {1, 2, 0, Bytes(2)},
                                                         {1, 2, 0, Bytes(4)},
                                                         {1, 2, 0, Bytes(1)}}));
  EXPECT_EQ(plan.moves, 0);
}

TEST(SwitchPlan, CopiesSumTheirGradientsInEachIteration) {
  const LayerTimeModel model = one_tier_model(3);
  const ExpertPlacement placement = placed({3, 3, 2}, {0, kNone, 1, 0, 2, 0});
  // Two copies send 2 B each to device 0, which sends 3 B to either.
  EXPECT_EQ(copies_seconds(model, placement, first_homes(placement)), Seconds(4 + 6));
  const ExpertPlacement single = ExpertPlacement::contiguous({3, 3, 2});
  EXPECT_EQ(copies_seconds(model, single, first_homes(single)), Seconds(0));
}

TEST(LoadPredictor, WorkedExamples) {
  const std::vector<std::pair<PredictorKind, double>> expected = {
      {PredictorKind::kLast, 6}, {PredictorKind::kMean, 5}, {PredictorKind::kEma, 5}, {PredictorKind::kLinear, 10}};
  for (const auto& [kind, value] : expected) {
    LoadPredictor predictor(kind, 1);
    predictor.observe(10, std::vector<double>{4});
    predictor.observe(20, std::vector<double>{6});
    EXPECT_NEAR(predictor.predict(40)[0], value, 1e-12) << predictor_name(kind);
  }
}

TEST(LoadPredictor, NeverBelowZeroAndForgetful) {
  LoadPredictor linear(PredictorKind::kLinear, 1);
  linear.observe(0, std::vector<double>{9});
  linear.observe(1, std::vector<double>{3});
  EXPECT_EQ(linear.predict(10)[0], 0);
  LoadPredictor mean(PredictorKind::kMean, 1);
  for (int i = 0; i < 20; ++i) mean.observe(i, std::vector<double>{static_cast<double>(i)});
  EXPECT_NEAR(mean.predict(20)[0], 15.5, 1e-12);  // of 12 to 19
  EXPECT_FALSE(parse_predictor("next").has_value());
}

}  // namespace
}  // namespace moesim
