#include "traces/remap.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "traces/proportional.hpp"

namespace moesim {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::int32_t> rounded(std::vector<std::uint64_t> weights, std::int64_t target, std::int64_t cap,
                                  bool* spread = nullptr) {
  std::vector<std::int32_t> out(weights.size());
  ProportionalRounder rounder;
  const bool was_spread = rounder.round(weights, target, cap, {}, out);
  if (spread != nullptr) *spread = was_spread;
  return out;
}

TEST(ProportionalRounder, SharesByLargestRemainder) {
  EXPECT_THAT(rounded({5, 3, 2}, 8, 8), ElementsAre(4, 2, 2));  // quotas 4, 2.4, 1.6
  EXPECT_THAT(rounded({1, 1, 1}, 2, 2), ElementsAre(1, 1, 0));  // equal fractions: the lower index first
  EXPECT_THAT(rounded({3, 0, 1}, 4, 4), ElementsAre(3, 0, 1));
  EXPECT_THAT(rounded({1, 0}, 0, 0), ElementsAre(0, 0));
}

TEST(ProportionalRounder, KeepsTheCap) {
  // Quotas 9, 2, 1 under a cap of 6: 6, then the other 6 by 2:1.
  EXPECT_THAT(rounded({9, 2, 1}, 12, 6), ElementsAre(6, 4, 2));
  // Second round: quotas 18, 5, 1 -> 10, then 14 by 5:1 -> 11.7, 2.3 -> 10 and 4.
  EXPECT_THAT(rounded({18, 5, 1}, 24, 10), ElementsAre(10, 10, 4));
  bool spread = false;
  EXPECT_THAT(rounded({7, 0, 0}, 8, 4, &spread), ElementsAre(4, 2, 2));
  EXPECT_TRUE(spread);
}

TEST(ProportionalRounder, HugeWeightsKeepProportions) {
  EXPECT_THAT(rounded({3ULL << 60, 1ULL << 60}, 100, 100), ElementsAre(75, 25));
}

TEST(ProportionalRounder, CarriedRowsKeepTheTotals) {
  const std::vector<std::uint64_t> weights{50, 30, 15, 4, 1};
  std::vector<std::int64_t> carry(weights.size(), 0);
  std::vector<std::int64_t> totals(weights.size(), 0);
  ProportionalRounder rounder;
  for (int row = 0; row < 100; ++row) {
    std::vector<std::int32_t> out(weights.size());
    EXPECT_FALSE(rounder.round(weights, 3, 3, carry, out));
    EXPECT_EQ(std::accumulate(out.begin(), out.end(), 0), 3);
    for (std::size_t e = 0; e < out.size(); ++e) totals[e] += out[e];
  }
  EXPECT_THAT(totals, ElementsAre(150, 90, 45, 12, 3));
}

SelectionTrace make_trace(int steps, int layers, int micro_batches, std::vector<std::int32_t> ranks, int experts) {
  std::vector<std::int64_t> iterations(static_cast<std::size_t>(steps));
  std::vector<std::int32_t> layer_labels(static_cast<std::size_t>(layers));
  std::vector<std::int32_t> batches(static_cast<std::size_t>(micro_batches));
  std::iota(iterations.begin(), iterations.end(), 0);
  std::iota(layer_labels.begin(), layer_labels.end(), 0);
  std::iota(batches.begin(), batches.end(), 0);
  const int rank_count = static_cast<int>(ranks.size());
  SelectionTrace trace(iterations, layer_labels, batches, std::move(ranks), experts);
  std::uint32_t value = 1;
  for (int s = 0; s < steps; ++s)
    for (int l = 0; l < layers; ++l)
      for (int m = 0; m < micro_batches; ++m)
        for (int r = 0; r < rank_count; ++r)
          for (std::uint32_t& c : trace.counts(s, l, m, r)) c = (value = value * 1103515245 + 12345) >> 20;
  return trace;
}

std::vector<std::int32_t> load_row(const ExpertLoads& loads, int layer, int micro_batch, int source) {
  const auto row = loads.row(layer, micro_batch, source);
  return {row.begin(), row.end()};
}

TEST(Remap, RowsSumExactlyAndStayUnderTheCap) {
  const SelectionTrace trace = make_trace(3, 5, 2, {0, 1, 2, 3}, 16);
  for (const int sources : {1, 3, 4, 7, 16})
    for (const int top_k : {1, 2, 6, 16})
      for (const std::int64_t tokens : {std::int64_t{1}, std::int64_t{5}, std::int64_t{4096}}) {
        const auto loads = map_loads(trace, {7, 16, top_k, tokens, sources, 3, -1});
        ASSERT_TRUE(loads) << loads.error().what;
        for (int l = 0; l < 7; ++l)
          for (int m = 0; m < 3; ++m)
            for (int s = 0; s < sources; ++s) {
              const auto row = load_row(*loads, l, m, s);
              ASSERT_EQ(std::accumulate(row.begin(), row.end(), std::int64_t{0}), tokens * top_k);
              ASSERT_LE(*std::max_element(row.begin(), row.end()), tokens);
              ASSERT_GE(*std::min_element(row.begin(), row.end()), 0);
            }
      }
}

TEST(Remap, IdentityWhenTheRequestIsTheRecording) {
  SelectionTrace trace = make_trace(1, 1, 1, {0, 1}, 3);
  const std::vector<std::vector<std::uint32_t>> rows{{3, 2, 1}, {1, 3, 2}};
  for (int r = 0; r < 2; ++r)
    std::copy(rows[static_cast<std::size_t>(r)].begin(), rows[static_cast<std::size_t>(r)].end(),
              trace.counts(0, 0, 0, r).begin());
  trace.info.top_k = 2;
  trace.info.tokens_per_rank_per_microbatch = 3;
  const auto loads = map_loads(trace, {1, 3, 2, 3, 2, 1, 0});
  ASSERT_TRUE(loads);
  EXPECT_THAT(load_row(*loads, 0, 0, 0), ElementsAre(3, 2, 1));
  EXPECT_THAT(load_row(*loads, 0, 0, 1), ElementsAre(1, 3, 2));
  EXPECT_TRUE(loads->notes.empty());
  EXPECT_FALSE(loads->source_symmetric);
}

TEST(Remap, FewerSourcesAreSums) {
  SelectionTrace trace = make_trace(1, 1, 1, {0, 1}, 2);
  const auto first = trace.counts(0, 0, 0, 0);
  const auto second = trace.counts(0, 0, 0, 1);
  first[0] = 4, first[1] = 0;
  second[0] = 1, second[1] = 3;
  const auto loads = map_loads(trace, {1, 2, 1, 8, 1, 1, -1});
  ASSERT_TRUE(loads);
  EXPECT_THAT(load_row(*loads, 0, 0, 0), ElementsAre(5, 3));
}

TEST(Remap, MoreSourcesUseOtherMicroBatchesFirst) {
  SelectionTrace trace = make_trace(1, 1, 2, {0}, 2);
  trace.counts(0, 0, 0, 0)[0] = 8, trace.counts(0, 0, 0, 0)[1] = 0;
  trace.counts(0, 0, 1, 0)[0] = 0, trace.counts(0, 0, 1, 0)[1] = 8;
  const auto loads = map_loads(trace, {1, 2, 1, 8, 2, 2, -1});
  ASSERT_TRUE(loads);
  EXPECT_THAT(load_row(*loads, 0, 0, 0), ElementsAre(8, 0));
  EXPECT_THAT(load_row(*loads, 0, 0, 1), ElementsAre(0, 8));
}

TEST(Remap, LayersMapByIndex) {
  SelectionTrace trace = make_trace(1, 2, 1, {0}, 2);
  trace.counts(0, 0, 0, 0)[0] = 4, trace.counts(0, 0, 0, 0)[1] = 0;
  trace.counts(0, 1, 0, 0)[0] = 0, trace.counts(0, 1, 0, 0)[1] = 4;
  const auto loads = map_loads(trace, {3, 2, 1, 4, 1, 1, -1});  // floor(0*2/3), floor(2/3), floor(4/3) = 0, 0, 1
  ASSERT_TRUE(loads);
  EXPECT_THAT(load_row(*loads, 1, 0, 0), ElementsAre(4, 0));
  EXPECT_THAT(load_row(*loads, 2, 0, 0), ElementsAre(0, 4));
}

TEST(Remap, SummedTracesAreSplitEvenly) {
  SelectionTrace trace = make_trace(1, 1, 1, {kSummedOverRanks}, 2);
  trace.counts(0, 0, 0, 0)[0] = 5, trace.counts(0, 0, 0, 0)[1] = 3;
  const auto loads = map_loads(trace, {1, 2, 1, 1, 8, 1, -1});
  ASSERT_TRUE(loads);
  EXPECT_TRUE(loads->source_symmetric);
  int first = 0;
  for (int s = 0; s < 8; ++s) first += load_row(*loads, 0, 0, s)[0];
  EXPECT_EQ(first, 5);
  EXPECT_THAT(loads->notes, Contains(HasSubstr("split evenly")));
}

TEST(Remap, OtherExpertCountsAreRefused) {
  const auto loads = map_loads(make_trace(1, 1, 1, {0}, 4), {1, 8, 2, 16, 1, 1, -1});
  ASSERT_FALSE(loads);
  EXPECT_THAT(loads.error().what, HasSubstr("4 experts per layer, the model 8"));
}

TEST(Remap, BadRequestsAreErrors) {
  const SelectionTrace trace = make_trace(2, 1, 1, {0}, 4);
  EXPECT_FALSE(map_loads(trace, {1, 4, 5, 16, 1, 1, -1}));
  EXPECT_FALSE(map_loads(trace, {1, 4, 0, 16, 1, 1, -1}));
  EXPECT_FALSE(map_loads(trace, {0, 4, 1, 16, 1, 1, -1}));
  EXPECT_FALSE(map_loads(trace, {1, 4, 2, 1LL << 40, 1, 1, -1}));
  EXPECT_FALSE(map_loads(trace, {1000, 4, 1, 16, 1 << 20, 1 << 10, -1}));
  EXPECT_FALSE(map_loads(trace, {1, 4, 1, 16, 1, 1, 2}));
}

TEST(Remap, MissingRowsTakeTheLayersAverage) {
  SelectionTrace trace = make_trace(1, 1, 1, {0, 1}, 2);
  trace.counts(0, 0, 0, 0)[0] = 3, trace.counts(0, 0, 0, 0)[1] = 1;
  trace.counts(0, 0, 0, 1)[0] = 0, trace.counts(0, 0, 0, 1)[1] = 0;
  const auto loads = map_loads(trace, {1, 2, 1, 8, 2, 1, -1});
  ASSERT_TRUE(loads);
  EXPECT_THAT(load_row(*loads, 0, 0, 1), ElementsAre(6, 2));
  EXPECT_THAT(loads->notes, Contains(HasSubstr("1 rows are missing")));
}

TEST(Remap, BalancedRowsRotateTheirRemainders) {
  const auto loads = balanced_loads({2, 8, 2, 3, 4, 2, -1});  // 6 selections over 8 experts, 16 rows: 12 each
  ASSERT_TRUE(loads);
  std::vector<int> totals(8, 0);
  for (int l = 0; l < 2; ++l)
    for (int m = 0; m < 2; ++m)
      for (int s = 0; s < 4; ++s) {
        const auto row = load_row(*loads, l, m, s);
        EXPECT_EQ(std::accumulate(row.begin(), row.end(), 0), 6);
        for (std::size_t e = 0; e < 8; ++e) totals[e] += row[e];
      }
  EXPECT_THAT(totals, testing::Each(12));
}

}  // namespace
}  // namespace moesim
