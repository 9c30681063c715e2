#include "exec/bench/sampling.hpp"

#include <gtest/gtest.h>

namespace moesim {
namespace {

TEST(Sampling, ShortOperationsAreMeasuredInRows) {
  const SampleRules rules;  // samples of 200 us
  EXPECT_EQ(operations_per_sample(rules, Seconds(1e-3)), 1);
  EXPECT_EQ(operations_per_sample(rules, Seconds(30e-6)), 7);  // 200 / 30 = 6.7
  EXPECT_EQ(operations_per_sample(rules, Seconds(0)), 10'000);
}

TEST(Sampling, CollectivesAreMeasuredInRowsThatOutlastABarrier) {
  const SampleRules rules;
  EXPECT_EQ(rules_for(CollectiveWork{}, rules, Seconds(1e-3)).shortest_sample, Seconds(10e-3));
  EXPECT_EQ(operations_per_sample(rules_for(CollectiveWork{}, rules, Seconds(1e-3)), Seconds(1.5e-3)), 7);
  EXPECT_EQ(rules_for(CollectiveWork{}, rules, Seconds(1e-6)).shortest_sample, rules.shortest_sample);
  EXPECT_EQ(rules_for(GemmWork{}, rules, Seconds(1e-3)).shortest_sample, rules.shortest_sample);
}

SampleSeries series_of(const std::vector<double>& seconds, Seconds budget) {
  SampleSeries series({.spread = 0.05, .fewest = 5, .most = 8}, budget);
  for (const double value : seconds) series.add(Seconds(value));
  return series;
}

TEST(Sampling, EndsWhenSteady) {
  const std::vector<double> steady = {1.00, 1.01, 0.99, 1.0,
                                      5.0};  // quartiles 1.00 and 1.01: an outlier does not count
  EXPECT_EQ(series_of(steady, Seconds(100)).ended(Seconds(5)), SamplesEnd::kSteady);
  EXPECT_FALSE(series_of({1.0, 1.0, 1.0, 1.0}, Seconds(100)).ended(Seconds(4)).has_value());
}

TEST(Sampling, EndsWithTheBudgetButNotBeforeTheThirdSample) {
  const std::vector<double> noisy = {1, 2, 3};
  EXPECT_FALSE(series_of({1, 2}, Seconds(2)).ended(Seconds(3)).has_value());
  EXPECT_FALSE(series_of(noisy, Seconds(7)).ended(Seconds(6)).has_value());
  EXPECT_EQ(series_of(noisy, Seconds(6)).ended(Seconds(6)), SamplesEnd::kBudget);
}

TEST(Sampling, EndsAfterTheMostSamples) {
  EXPECT_EQ(series_of({1, 2, 3, 4, 5, 6, 7, 8}, Seconds(100)).ended(Seconds(36)), SamplesEnd::kMost);
}

TEST(Sampling, SpreadIsThatOfTheMiddleHalf) {
  EXPECT_DOUBLE_EQ(relative_spread({1, 2, 3, 4, 5}), (4.0 - 2.0) / 3.0);
  EXPECT_EQ(relative_spread({}), 0);
}

}  // namespace
}  // namespace moesim
