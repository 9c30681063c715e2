// Who gates and sends which copies where TP ranks hold the same tokens.
#include "sim/program/copy_division.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "sim/program/group_loads.hpp"
#include "tests/unit/sim/program/program_testing.hpp"

namespace moesim {
namespace {

using testing::ElementsAre;

// The worked example of the header: 2 ranks of a TP group, 3 experts, 3 tokens each of which top-2 are sent.
std::shared_ptr<const RoutedLoads> two_sources() {
  RoutedLoads loads;
  loads.moe_layers = 1;
  loads.sources = 2;
  loads.experts = 3;
  loads.top_k = 2;
  loads.tokens_per_source = 3;
  loads.balanced = false;
  loads.counts = {4, 0, 2, 1, 2, 3};
  return std::make_shared<const RoutedLoads>(loads);
}

Plan tp_pair(int esp) { return plan_of({.tp = 2, .dp = 1, .ep = 1, .esp = esp, .edp = 2 / esp}, 1); }

std::shared_ptr<const RoutedLoads> divided(const Plan& plan, CopyDivision division) {
  const Layout layout = Layout::make(plan.layout, plan.sizes().world()).value();
  return divide_copies(two_sources(), plan, layout, division);
}

TEST(CopyDivision, OwnTokensLeaveTheLoadsAsTheyAre) {
  const auto own = two_sources();
  const Plan plan = tp_pair(1);
  const Layout layout = Layout::make(plan.layout, 2).value();
  EXPECT_EQ(divide_copies(own, plan, layout, CopyDivision::kOwnTokens), own);
  const Plan alone = plan_of({.dp = 2, .edp = 2}, 1);
  const Layout apart = Layout::make(alone.layout, 2).value();
  for (const CopyDivision division :
       {CopyDivision::kShareOfEachExpert, CopyDivision::kAllOfTpGroup, CopyDivision::kAllOfEspGroup})
    EXPECT_EQ(divide_copies(own, alone, apart, division), own);
}

// Both gate (5, 2, 5); over slots {0 1 2 0} expert 0 is dealt out as 2 and 3, alike on both, and each takes its share of every slot.
TEST(CopyDivision, SharesAreTakenOfWhatIsDealtOut) {
  Plan plan = tp_pair(1);
  plan.expert_slots = {{{0, 1, 2, 0}}};
  const auto loads = divided(plan, CopyDivision::kShareOfEachExpert);
  for (const int source : {0, 1}) {
    EXPECT_EQ(loads->turn(source), 0);
    EXPECT_THAT(loads->chosen_row(0, 0, source), ElementsAre(5, 2, 5));
    EXPECT_THAT(loads->kept_row(0, 0, source), ElementsAre(2, 2, 5, 3));
  }
  EXPECT_THAT(loads->row(0, 0, 0), ElementsAre(1, 1, 2, 1));
  EXPECT_THAT(loads->row(0, 0, 1), ElementsAre(1, 1, 3, 2));
}

TEST(CopyDivision, EachTpRankSendsItsShareOfEveryExpert) {
  const auto loads = divided(tp_pair(1), CopyDivision::kShareOfEachExpert);
  EXPECT_THAT(loads->row(0, 0, 0), ElementsAre(2, 1, 2));
  EXPECT_THAT(loads->row(0, 0, 1), ElementsAre(3, 1, 3));
  for (const int source : {0, 1}) {
    EXPECT_THAT(loads->chosen_row(0, 0, source), ElementsAre(5, 2, 5));
    EXPECT_THAT(loads->kept_row(0, 0, source), ElementsAre(5, 2, 5));
  }
  EXPECT_EQ(loads->tokens_per_source, 6);
  EXPECT_FALSE(loads->shards_apart);
}

// ceil(0.5 * 6 * 2 / 3) = 2 of each expert's copies are kept, of 5, 2 and 5 that the gate chose.
TEST(CopyDivision, ACapacityIsThatOfTheTokensAGateSees) {
  Plan plan = tp_pair(1);
  plan.capacity_factor = 0.5;
  const auto loads = divided(plan, CopyDivision::kShareOfEachExpert);
  EXPECT_THAT(loads->chosen_row(0, 0, 1), ElementsAre(5, 2, 5));
  EXPECT_THAT(loads->kept_row(0, 0, 1), ElementsAre(2, 2, 2));
  EXPECT_THAT(loads->row(0, 0, 0), ElementsAre(1, 1, 1));
}

TEST(CopyDivision, EachTpRankSendsAllCopiesToItsShard) {
  const auto loads = divided(tp_pair(2), CopyDivision::kAllOfTpGroup);
  for (const int source : {0, 1}) EXPECT_THAT(loads->row(0, 0, source), ElementsAre(5, 2, 5));
  EXPECT_TRUE(loads->shards_apart);
  const GroupLoads group(*loads, {0, 1}, 1, 2);
  EXPECT_THAT(group.expert_rows(0, 0, 0), ElementsAre(5, 2, 5));  // of one shard; the other has the same
  EXPECT_EQ(group.arrived(0, 0, 0, 0), 12);
  EXPECT_EQ(group.arrived(0, 0, 0, 1), 12);
  EXPECT_EQ(group.arrived_shards(0, 0, 0), 12);
}

TEST(CopyDivision, GatheredTokensAreThereOncePerTpRank) {
  const auto loads = divided(tp_pair(2), CopyDivision::kAllOfEspGroup);
  for (const int source : {0, 1}) EXPECT_THAT(loads->row(0, 0, source), ElementsAre(10, 4, 10));
  EXPECT_EQ(loads->tokens_per_source, 12);
}

// Whatever the mesh, the shares of a group add up to what its ranks chose, and every expert gets each copy once.
TEST(CopyDivision, SharesAddUpToWhatWasChosen) {
  for (const char* order : {"tp-cp-ep-dp-pp", "dp-tp-cp-ep-pp"}) {
    Plan plan = plan_of({.tp = 4, .dp = 2, .ep = 4, .edp = 2}, 1);
    plan.layout.order = order;
    const Layout layout = Layout::make(plan.layout, 8).value();
    const auto own = skewed_loads(plan, small_moe(), 8, 2, 77);
    const auto loads = divide_copies(own, plan, layout, CopyDivision::kShareOfEachExpert);
    for (int layer = 0; layer < own->moe_layers; ++layer)
      for (int variant = 0; variant < 2; ++variant) {
        std::vector<std::int64_t> before(16, 0), after(16, 0);
        for (int source = 0; source < 8; ++source)
          for (std::size_t e = 0; e < 16; ++e) {
            before[e] += own->row(layer, variant, source)[e];
            after[e] += loads->row(layer, variant, source)[e];
          }
        EXPECT_EQ(before, after) << order;
      }
  }
}

}  // namespace
}  // namespace moesim
