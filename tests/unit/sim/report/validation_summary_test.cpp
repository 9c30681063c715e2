#include "sim/report/validation_summary.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "calibration/quantile.hpp"

namespace moesim {
namespace {

ComparedRow row(std::string id, double predicted, double measured, std::string group = {}) {
  ComparedRow r;
  r.id = std::move(id);
  r.law = std::string("step");
  r.metric = std::string("step_time_s");
  r.predicted = predicted;
  r.measured = measured;
  r.quality = "A";
  r.hardware = "H100";
  r.rank_group = std::move(group);
  return r;
}

ComparedRow skipped(std::string id, std::string reason) {
  ComparedRow r = row(std::move(id), 0, 0);
  r.skipped = std::move(reason);
  return r;
}

TEST(Quantile, InterpolatesBetweenNeighbours) {
  EXPECT_DOUBLE_EQ(quantile({4, 1, 2}, 0.5), 2);
  EXPECT_DOUBLE_EQ(quantile({1, 2, 4}, 0.9), 3.6);  // place 1.8: 2 + 0.8 * 2
  EXPECT_DOUBLE_EQ(quantile({1, 2}, 0.5), 1.5);
  EXPECT_DOUBLE_EQ(quantile({7}, 0.9), 7);
  EXPECT_DOUBLE_EQ(quantile({}, 0.5), 0);
}

TEST(KendallTau, HandCounted) {
  EXPECT_DOUBLE_EQ(*kendall_tau({1, 2, 3}, {10, 20, 30}), 1);
  EXPECT_DOUBLE_EQ(*kendall_tau({1, 2, 3}, {30, 20, 10}), -1);
  EXPECT_DOUBLE_EQ(*kendall_tau({2, 1, 3}, {1, 2, 3}), 1.0 / 3);  // 2 concordant, 1 discordant
  // One tie in a: pairs (1,3) and (2,3) concordant, (1,2) tied in a; 2 / sqrt(2 * 3).
  EXPECT_DOUBLE_EQ(*kendall_tau({1, 1, 2}, {1, 2, 3}), 2 / std::sqrt(6.0));
  EXPECT_EQ(kendall_tau({1, 1}, {1, 2}), std::nullopt);
  EXPECT_EQ(kendall_tau({1}, {1}), std::nullopt);
}

TEST(ValidationSummary, ErrorsByMetricAndQuality) {
  std::vector<ComparedRow> rows = {row("a", 110, 100), row("b", 80, 100), row("c", 130, 100)};
  rows[2].quality = "B";
  const ValidationSummary summary = summarize_validation(rows);
  ASSERT_EQ(summary.by_metric.size(), 1U);
  EXPECT_EQ(summary.by_metric[0].rows, 3);
  EXPECT_NEAR(summary.by_metric[0].median, 0.2, 1e-12);  // of 0.1, 0.2, 0.3
  EXPECT_NEAR(summary.by_metric[0].p90, 0.28, 1e-12);    // place 1.8: 0.2 + 0.8 * 0.1
  EXPECT_NEAR(summary.by_metric[0].bias, 0.1, 1e-12);    // of -0.2, 0.1, 0.3
  ASSERT_EQ(summary.by_quality.size(), 2U);
  EXPECT_EQ(summary.by_quality[0].quality, "A");
  EXPECT_NEAR(summary.by_quality[0].median, 0.15, 1e-12);
  EXPECT_EQ(summary.by_quality[1].quality, "B");
  EXPECT_NEAR(summary.by_quality[1].median, 0.3, 1e-12);
  EXPECT_EQ(summary.by_hardware.size(), 1U);
  EXPECT_EQ(summary.by_law.size(), 1U);
}

TEST(ValidationSummary, SkippedRowsAreCountedByReasonAndNotJudged) {
  const ValidationSummary summary = summarize_validation(
      {skipped("a", "no preset"), row("b", 1, 1), skipped("c", "unknown op"), skipped("d", "unknown op")});
  EXPECT_EQ(summary.rows, 4);
  EXPECT_EQ(summary.predicted, 1);
  const std::vector<std::pair<std::string, std::int64_t>> expected = {{"unknown op", 2}, {"no preset", 1}};
  EXPECT_EQ(summary.skipped, expected);
  EXPECT_EQ(summary.by_metric[0].rows, 1);
}

TEST(ValidationSummary, RankGroupsOrderAndRegret) {
  const ValidationSummary summary = summarize_validation(
      {row("a", 2, 1, "g"), row("b", 1, 2, "g"), row("c", 3, 3, "g"), row("d", 5, 6, "alone"), row("e", 5, 6)});
  ASSERT_EQ(summary.rank_groups.size(), 1U);  // a group of one row says nothing
  const RankGroupSummary& group = summary.rank_groups[0];
  EXPECT_EQ(group.rows, 3);
  EXPECT_NEAR(*group.kendall_tau, 1.0 / 3, 1e-12);
  EXPECT_DOUBLE_EQ(group.regret, 1);  // b takes 2, a would have taken 1
  EXPECT_EQ(group.our_choice, "b");
  EXPECT_EQ(group.best, "a");
  EXPECT_DOUBLE_EQ(*summary.right_choice_share, 0);
}

TEST(ValidationSummary, RegretOfTiedPredictionsIsTheWorst) {
  const ValidationSummary summary =
      summarize_validation({row("a", 1, 10, "g"), row("b", 1, 15, "g"), row("c", 2, 20, "g")});
  EXPECT_DOUBLE_EQ(summary.rank_groups[0].regret, 0.5);
  EXPECT_EQ(summary.rank_groups[0].our_choice, "b");
}

TEST(ValidationSummary, ForRatesMoreIsBetter) {
  std::vector<ComparedRow> rows = {row("slow", 50, 100, "g"), row("fast", 60, 200, "g")};
  for (ComparedRow& r : rows) r.better = Better::kHigher;
  const ValidationSummary summary = summarize_validation(rows);
  EXPECT_DOUBLE_EQ(*summary.rank_groups[0].kendall_tau, 1);
  EXPECT_DOUBLE_EQ(summary.rank_groups[0].regret, 0);
  EXPECT_EQ(summary.rank_groups[0].best, "fast");
  EXPECT_DOUBLE_EQ(*summary.right_choice_share, 1);
}

TEST(ValidationSummary, LayoutsAreNotRankedByMemory) {
  std::vector<ComparedRow> rows = {row("a", 1, 2, "g"), row("b", 2, 1, "g")};
  for (ComparedRow& r : rows) r.better = Better::kNeither;
  const ValidationSummary summary = summarize_validation(rows);
  EXPECT_TRUE(summary.rank_groups.empty());
  EXPECT_EQ(summary.by_metric.size(), 1U);
}

TEST(ValidationSummary, NothingAtAll) {
  const ValidationSummary summary = summarize_validation({});
  EXPECT_EQ(summary.rows, 0);
  EXPECT_EQ(summary.median_regret, std::nullopt);
}

}  // namespace
}  // namespace moesim
