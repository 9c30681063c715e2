// Each experiment changes one thing for the better, so none may be slower than the step as it is.
#include "sim/simulate/what_if.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/sim/step/step_testing.hpp"

namespace moesim {
namespace {

std::vector<std::string> keys_of(const std::vector<WhatIf>& experiments) {
  std::vector<std::string> keys;
  for (const WhatIf& experiment : experiments) keys.push_back(experiment.key);
  std::sort(keys.begin(), keys.end());
  return keys;
}

TEST(WhatIf, NothingBetterIsSlower) {
  const TestCluster cluster(small_nodes(2, 4));
  Plan plan = plan_of({.dp = 8, .ep = 8}, 8);
  plan.recompute = Recompute::kFull;
  const ModelShape model = wide_moe();
  const Seconds now = simulate_step(plan, model, cluster.costs(), nullptr, {}).value().metrics.step_time;
  const std::vector<WhatIf> experiments = what_would_help(plan, model, cluster.costs(), nullptr).value();
  for (const WhatIf& experiment : experiments) EXPECT_LE(experiment.step_time, now * (1 + 1e-9)) << experiment.key;
  EXPECT_TRUE(std::is_sorted(experiments.begin(), experiments.end(),
                             [](const WhatIf& a, const WhatIf& b) { return a.step_time < b.step_time; }));
  const auto recompute =
      std::find_if(experiments.begin(), experiments.end(), [](const WhatIf& e) { return e.key == "no_recompute"; });
  ASSERT_NE(recompute, experiments.end());
  EXPECT_LT(recompute->step_time, now);
}

TEST(WhatIf, AsksOnlyWhatApplies) {
  const TestCluster cluster(small_nodes(2, 4));
  const std::vector<WhatIf> experiments =
      what_would_help(plan_of({.dp = 8, .ep = 8}, 8), wide_moe(), cluster.costs(), nullptr).value();
  std::vector<std::string> expected = {"no_link_latency"};
  for (const Tier& tier : cluster.costs().view().tiers()) expected.push_back("link_x2." + tier.name);
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(keys_of(experiments), expected);
}

// What explain shows is what a plan with that algorithm takes, and they differ.
TEST(WhatIf, APlanUnderEachAlgorithmOfTheTokenExchange) {
  const TestCluster cluster(small_nodes(2, 4));
  Plan plan = plan_of({.dp = 8, .ep = 8}, 8);
  const std::vector<ExchangeChoice> choices = under_each_exchange(plan, wide_moe(), cluster.costs(), nullptr).value();
  ASSERT_EQ(choices.size(), exchange_algorithms().size());
  for (std::size_t i = 0; i < choices.size(); ++i) {
    EXPECT_EQ(choices[i].algorithm, exchange_algorithms()[i]);
    plan.all_to_all = choices[i].algorithm;
    EXPECT_EQ(choices[i].step_time,
              simulate_step(plan, wide_moe(), cluster.costs(), nullptr, {}).value().metrics.step_time);
    for (std::size_t j = 0; j < i; ++j) EXPECT_NE(choices[i].step_time, choices[j].step_time);
  }
  EXPECT_TRUE(under_each_exchange(plan_of({.dp = 8, .edp = 8}, 8), wide_moe(), cluster.costs(), nullptr)->empty());
}

TEST(WhatIf, AWrongPlanIsAnError) {
  const TestCluster cluster(small_nodes(2, 4));
  EXPECT_FALSE(what_would_help(plan_of({.dp = 3}, 3), small_moe(), cluster.costs(), nullptr).has_value());
}

}  // namespace
}  // namespace moesim
