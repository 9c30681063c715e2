#include "traces/statistics.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "trace_test_util.hpp"

namespace moesim {
namespace {

TraceStatistics statistics_of(const std::vector<std::pair<RowKey, std::vector<std::uint32_t>>>& rows,
                              StatisticsOptions options = {}, Findings* findings = nullptr) {
  StatisticsSink sink(std::move(options));
  for (const auto& [key, counts] : rows) EXPECT_TRUE(sink.counts({key, counts, {"t", 1}}));
  Findings unused;
  return std::move(sink).finish(findings == nullptr ? unused : *findings);
}

TEST(Statistics, BalanceOfOneRow) {
  // {6, 2, 0, 0}: max/mean 6 / 2 = 3; entropy (0.75 ln(4/3) + 0.25 ln 4) / ln 4 = 0.405639; EP2 8 / 4 = 2.
  const TraceStatistics s = statistics_of({{{7, 3, 0, kSummedOverRanks}, {6, 2, 0, 0}}});
  ASSERT_EQ(s.steps.size(), 1U);
  EXPECT_EQ(s.steps[0].iteration, 7);
  EXPECT_DOUBLE_EQ(s.steps[0].max_over_mean, 3);
  EXPECT_NEAR(s.steps[0].entropy_mean, 0.4056390622, 1e-9);
  EXPECT_DOUBLE_EQ(s.steps[0].top1_share, 0.75);
  EXPECT_DOUBLE_EQ(s.steps[0].top2_share, 1);
  EXPECT_EQ(s.steps[0].zero_count_experts, 2U);
  EXPECT_EQ(s.selections, 8U);
  ASSERT_EQ(s.devices.size(), 2U);
  EXPECT_DOUBLE_EQ(*s.devices[0].max_over_mean.value(), 2);
  EXPECT_DOUBLE_EQ(*s.devices[1].max_over_mean.value(), 3);
  EXPECT_FALSE(s.rank_cv.value());
  EXPECT_FALSE(s.lags[0].cosine.value());
  ASSERT_EQ(s.layers.size(), 1U);
  EXPECT_EQ(s.layers[0].layer, 3);
}

TEST(Statistics, LagsAndRankVariation) {
  // Lag 10: cos({3,4},{4,3}) = 24/25. Ranks {2,1},{1,3}: deviations 0.5 and 1, means 1.5 and 2: CV 1.5/3.5.
  const TraceStatistics s = statistics_of({{{10, 0, 0, 0}, {4, 3}}, {{0, 0, 0, 0}, {2, 1}}, {{0, 0, 0, 1}, {1, 3}}});
  EXPECT_DOUBLE_EQ(*s.lags[0].cosine.value(), 24.0 / 25);
  EXPECT_FALSE(s.lags[0].cosine_settled.value());
  EXPECT_EQ(s.lags[1].cosine.count, 0U);
  EXPECT_DOUBLE_EQ(*s.rank_cv.value(), 1.5 / 3.5);
  EXPECT_EQ(s.source_ranks, 2U);
}

TEST(Statistics, MicroBatchesAreSummed) {
  const TraceStatistics s = statistics_of({{{1, 0, 0, 0}, {8, 0}}, {{1, 0, 1, 0}, {0, 8}}});
  EXPECT_DOUBLE_EQ(s.steps[0].max_over_mean, 1);
  EXPECT_EQ(s.micro_batches, 2U);
}

TEST(Statistics, BoundedMemoryGivesTheSameForOrderedRows) {
  std::vector<std::pair<RowKey, std::vector<std::uint32_t>>> rows;
  for (int i = 0; i < 300; ++i)
    rows.push_back({{i, 0, 0, 0}, {static_cast<std::uint32_t>(i % 7 + 1), 5, static_cast<std::uint32_t>(i % 3)}});
  StatisticsOptions small;
  small.memory_limit_bytes = 40000;  // about 100 steps
  small.lags = {1, 10};
  StatisticsOptions large = small;
  large.memory_limit_bytes = 1 << 30;
  Findings findings;
  const TraceStatistics a = statistics_of(rows, small, &findings);
  const TraceStatistics b = statistics_of(rows, large);
  EXPECT_TRUE(findings.list().empty());
  EXPECT_EQ(a.iterations, 300U);
  EXPECT_DOUBLE_EQ(a.mean.max_over_mean, b.mean.max_over_mean);
  EXPECT_EQ(a.lags[1].cosine.count, 290U);
  EXPECT_DOUBLE_EQ(*a.lags[1].cosine.value(), *b.lags[1].cosine.value());
  rows.push_back({{0, 1, 0, 0}, {1, 2, 3}});
  const TraceStatistics late = statistics_of(rows, small, &findings);
  EXPECT_TRUE(findings.has("late-rows"));
}

TEST(Statistics, LongTablesAreThinned) {
  std::vector<std::pair<RowKey, std::vector<std::uint32_t>>> rows;
  for (int i = 0; i < 21; ++i) rows.push_back({{i, 0, 0, 0}, {1, 2}});
  StatisticsOptions options;
  options.most_steps = 8;
  const TraceStatistics s = statistics_of(rows, options);
  EXPECT_EQ(s.step_stride, 4);
  ASSERT_EQ(s.steps.size(), 6U);
  EXPECT_EQ(s.steps[5].iteration, 20);
}

double rounded(double value, int digits) {
  const double scale = std::pow(10, digits);
  return std::round(value * scale) / scale;
}

// The statistics published with the recording, to the digits printed.
TEST(Statistics, EqualThoseOfTheSmartMoeRecording) {
  const std::string archive = std::string(MOESIM_SHARED_DIR) + "/data/traces/smartmoe-ae/smartmoe_trace.tar.zst";
  if (!std::filesystem::exists(archive)) GTEST_SKIP() << "no recorded data beside this checkout: " << archive;
  StatisticsSink sink;
  auto report = import_trace(archive, {}, sink);
  ASSERT_TRUE(report) << describe(report.error());
  const TraceStatistics s = std::move(sink).finish(report->findings);
  EXPECT_EQ(s.rows, 501U * 16 * 24 * 4);
  EXPECT_EQ(s.iterations, 501U);
  EXPECT_EQ(s.layers.size(), 24U);
  EXPECT_EQ(s.source_ranks, 16U);
  EXPECT_EQ(s.micro_batches, 4U);
  EXPECT_EQ(s.experts, 32);
  EXPECT_EQ(s.selections, 501ULL * 16 * 24 * 4 * 4096);
  EXPECT_FALSE(report->findings.has("row-sums-differ"));

  struct Row {
    std::int64_t iteration;
    double max_over_mean;
    int digits;
    double entropy;
    std::uint64_t zeros;
  };
  const std::vector<Row> table = {{1, 1.54, 2, 0.994, 0},     {11, 14.0, 1, 0.408, 244},  {51, 14.2, 1, 0.419, 281},
                                  {101, 12.1, 1, 0.435, 337}, {501, 9.1, 1, 0.654, 60},   {1001, 10.5, 1, 0.611, 73},
                                  {2001, 11.6, 1, 0.583, 88}, {5001, 12.6, 1, 0.551, 216}};
  for (const Row& row : table) {
    const auto step = std::find_if(s.steps.begin(), s.steps.end(), [&](const StepStatistics& candidate) {
      return candidate.iteration == row.iteration;
    });
    ASSERT_NE(step, s.steps.end());
    EXPECT_DOUBLE_EQ(rounded(step->max_over_mean, row.digits), row.max_over_mean) << row.iteration;
    EXPECT_DOUBLE_EQ(rounded(step->entropy_mean, 3), row.entropy) << row.iteration;
    EXPECT_EQ(step->zero_count_experts, row.zeros) << row.iteration;
  }
  EXPECT_DOUBLE_EQ(rounded(s.steps[0].entropy_min, 3), 0.990);
  EXPECT_DOUBLE_EQ(rounded(s.steps[1].entropy_min, 3), 0.200);
  EXPECT_DOUBLE_EQ(rounded(s.steps[500].entropy_min, 3), 0.346);
  const auto shares = [&](std::size_t step) {
    return std::vector<double>{rounded(s.steps[step].top1_share, 2), rounded(s.steps[step].top2_share, 2),
                               rounded(s.steps[step].top4_share, 2)};
  };
  EXPECT_THAT(shares(1), testing::ElementsAre(0.44, 0.76, 0.89));
  EXPECT_THAT(shares(10), testing::ElementsAre(0.38, 0.65, 0.90));
  EXPECT_THAT(shares(100), testing::ElementsAre(0.33, 0.51, 0.70));
  EXPECT_THAT(shares(500), testing::ElementsAre(0.39, 0.59, 0.76));

  const std::vector<double> cosines = {0.995, 0.990, 0.988, 0.981, 0.975};
  const std::vector<double> settled = {0.999, 0.999, 0.999, 0.997, 0.994};
  for (std::size_t i = 0; i < 5; ++i) {
    EXPECT_DOUBLE_EQ(rounded(*s.lags[i].cosine.value(), 3), cosines[i]);
    EXPECT_DOUBLE_EQ(rounded(*s.lags[i].cosine_settled.value(), 3), settled[i]);
  }
  EXPECT_DOUBLE_EQ(rounded(*s.rank_cv_settled.value(), 3), 0.039);
  const std::vector<std::pair<double, int>> devices = {{1.36, 2}, {2.06, 2}, {3.43, 2}, {6.16, 2}, {11.6, 1}};
  ASSERT_EQ(s.devices.size(), 5U);
  for (std::size_t i = 0; i < 5; ++i)
    EXPECT_DOUBLE_EQ(rounded(*s.devices[i].max_over_mean.value(), devices[i].second), devices[i].first)
        << s.devices[i].ep;
}

}  // namespace
}  // namespace moesim
