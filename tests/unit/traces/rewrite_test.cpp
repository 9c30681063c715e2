// What-ifs on recorded counts: the worked examples, what they must keep, and that they are marked.
#include "traces/rewrite.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "tests/unit/traces/trace_test_util.hpp"
#include "traces/synthesize.hpp"

namespace moesim {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

SelectionTrace trace_of(const std::vector<std::vector<std::uint32_t>>& rows) {
  std::vector<std::int32_t> ranks(rows.size());
  std::iota(ranks.begin(), ranks.end(), 0);
  SelectionTrace trace({0}, {0}, {0}, ranks, static_cast<int>(rows.front().size()));
  for (std::size_t rank = 0; rank < rows.size(); ++rank)
    std::ranges::copy(rows[rank], trace.counts(0, 0, 0, static_cast<int>(rank)).begin());
  trace.info.top_k = 2;
  return trace;
}

// The example of the header: rank 0 sends 2 away, rank 1 had no more than 2 away and keeps its row.
TEST(Rewrite, ATopologyAwareGateKeepsTokensOnTheirNode) {
  const auto result = keep_on_node(trace_of({{4, 2, 8, 6}, {10, 8, 1, 1}, {0, 0, 10, 10}, {5, 5, 0, 10}}), {4, 2, 0.2});
  ASSERT_TRUE(result.has_value());
  EXPECT_THAT(row_of(*result, 0, 0, 0, 0), ElementsAre(10, 8, 1, 1));
  EXPECT_THAT(row_of(*result, 0, 0, 0, 1), ElementsAre(10, 8, 1, 1));
  EXPECT_THAT(row_of(*result, 0, 0, 0, 2), ElementsAre(0, 0, 10, 10));
  // An expert that nobody of the node chose gets what the other has no tokens for.
  EXPECT_THAT(row_of(*result, 0, 0, 0, 3), ElementsAre(1, 1, 8, 10));
  EXPECT_EQ(result->info.origin, TraceOrigin::kRewritten);
  EXPECT_THAT(result->info.notes, HasSubstr("WHAT-IF: counts rewritten by a topology-aware gate"));
}

// All stay, all may leave.
TEST(Rewrite, TheFractionsAtTheEnds) {
  const SelectionTrace trace = trace_of({{4, 2, 8, 6}, {1, 3, 9, 7}, {6, 6, 4, 4}, {5, 5, 5, 5}});
  const auto none = keep_on_node(trace, {4, 2, 0.0});
  ASSERT_TRUE(none.has_value());
  EXPECT_THAT(row_of(*none, 0, 0, 0, 0), ElementsAre(10, 10, 0, 0));
  EXPECT_THAT(row_of(*none, 0, 0, 0, 2), ElementsAre(0, 0, 10, 10));
  const auto one = keep_on_node(trace_of({{4, 6, 6, 4}, {1, 9, 9, 1}, {6, 4, 4, 6}, {5, 5, 5, 5}}), {4, 2, 1.0});
  ASSERT_TRUE(one.has_value());
  EXPECT_THAT(row_of(*one, 0, 0, 0, 0), ElementsAre(4, 6, 6, 4));
}

// 8 ranks at 300 GB/s inside, 25 GB/s for the node: 1 / (1 + 8 * 12); the two sides then take equally long.
TEST(Rewrite, TheFractionThatBothNetworksTakeEquallyLongFor) {
  const double fraction = even_fraction(8, BytesPerSecond(300e9), BytesPerSecond(25e9));
  EXPECT_DOUBLE_EQ(fraction, 1.0 / 97);
  EXPECT_DOUBLE_EQ(8 * fraction / 25, (1 - fraction) / 300);
}

TEST(Rewrite, SwipeGivesWhatIsTooMuchToThoseWithRoom) {
  const auto two = balance_by_swipe(trace_of({{3, 1}, {4, 0}}), {});
  ASSERT_TRUE(two.has_value());
  EXPECT_THAT(row_of(*two, 0, 0, 0, 0), ElementsAre(3, 1));
  EXPECT_THAT(row_of(*two, 0, 0, 0, 1), ElementsAre(1, 3));
  // Three ranks of two experts, room for 12 each. Rank 0 takes 9 and 3 (of 5, 3 : 2 make 1.8 and 1.2: 2 and 1), nothing of the
  // third. Rank 1 is sent 1 + 5 + 2 = 8 and has room for 4, rank 2 is sent 2 + 2 + 2. Source 1 gives its 2 to rank 1, source 2 its
  // 8: 2 to rank 1 and 6 to rank 2.
  const auto three = balance_by_swipe(trace_of({{5, 4, 1, 0, 2, 0}, {3, 2, 4, 1, 1, 1}, {8, 0, 1, 1, 0, 2}}), {});
  ASSERT_TRUE(three.has_value());
  EXPECT_THAT(row_of(*three, 0, 0, 0, 0), ElementsAre(5, 4, 1, 0, 2, 0));
  EXPECT_THAT(row_of(*three, 0, 0, 0, 1), ElementsAre(2, 1, 5, 2, 1, 1));
  EXPECT_THAT(row_of(*three, 0, 0, 0, 2), ElementsAre(0, 0, 2, 2, 3, 5));
  EXPECT_EQ(three->info.origin, TraceOrigin::kRewritten);
}

// Whatever was recorded: no copy is lost or made up, and every rank computes as many as it has tokens for.
TEST(Rewrite, KeepsAllCopies) {
  SynthesisRequest request;
  request.law = GateLaw::kZipf;
  request.steps = 2;
  request.layers = 2;
  request.source_ranks = 8;
  request.experts = 16;
  request.tokens = 100;
  const auto trace = synthesize_trace(request);
  ASSERT_TRUE(trace.has_value());
  for (const int ep : {0, 2, 4, 8}) {
    const auto near = keep_on_node(*trace, {ep, 2, 0.1});
    const auto even = balance_by_swipe(*trace, {ep});
    ASSERT_TRUE(near.has_value());
    ASSERT_TRUE(even.has_value());
    const int ranks = ep == 0 ? 8 : ep;
    const auto local = static_cast<std::size_t>(16 / ranks);
    for (int step = 0; step < 2; ++step)
      for (int layer = 0; layer < 2; ++layer)
        for (int first = 0; first < 8; first += ranks) {
          std::vector<std::int64_t> computed(static_cast<std::size_t>(ranks), 0);
          for (int rank = first; rank < first + ranks; ++rank) {
            std::int64_t away = 0;
            std::int64_t kept = 0;
            for (std::size_t e = 0; e < 16; ++e) {
              kept += near->counts(step, layer, 0, rank)[e];
              const bool own_node = e / local / 2 == static_cast<std::size_t>((rank - first) / 2);
              if (!own_node) away += near->counts(step, layer, 0, rank)[e];
              computed[e / local] += even->counts(step, layer, 0, rank)[e];
            }
            EXPECT_EQ(kept, 200);
            EXPECT_LE(away, 10);
            EXPECT_EQ(std::accumulate(even->counts(step, layer, 0, rank).begin(),
                                      even->counts(step, layer, 0, rank).end(), std::int64_t{0}),
                      200);
          }
          EXPECT_THAT(computed, testing::Each(200));
        }
  }
}

TEST(Rewrite, IsWrittenAndReadBackAsAWhatIf) {
  const TempFolder folder;
  const auto rewritten = balance_by_swipe(trace_of({{3, 1}, {4, 0}}), {});
  ASSERT_TRUE(rewritten.has_value());
  ASSERT_TRUE(write_trace(*rewritten, folder.path("even.csv")).has_value());
  const SelectionTrace read = load_or_fail(folder.path("even.csv"));
  EXPECT_EQ(read.info.origin, TraceOrigin::kRewritten);
  EXPECT_EQ(name_of(read.info.origin), "what-if");
  EXPECT_THAT(read.info.gate, HasSubstr("SWIPE"));
  EXPECT_THAT(row_of(read, 0, 0, 0, 1), ElementsAre(1, 3));
}

TEST(Rewrite, SaysWhatDoesNotFit) {
  const SelectionTrace trace = trace_of({{4, 2, 8, 6}, {4, 2, 8, 6}, {4, 2, 8, 6}, {4, 2, 8, 6}});
  const auto what = [](const auto& result) { return result ? std::string() : result.error().what; };
  EXPECT_THAT(what(balance_by_swipe(trace, {3})), HasSubstr("4 source ranks do not make groups of 3"));
  EXPECT_THAT(what(keep_on_node(trace, {0, 3, 0.1})), HasSubstr("4 ranks do not fill nodes of 3"));
  EXPECT_THAT(what(keep_on_node(trace, {0, 2, 1.5})), HasSubstr("1.5 is not a fraction"));
  EXPECT_THAT(what(keep_on_node(trace, {0, 1, 0.1})), HasSubstr("chooses 2 experts, and a node has 1"));
  SelectionTrace unknown = trace;
  unknown.info.top_k = 0;
  EXPECT_THAT(what(keep_on_node(unknown, {0, 2, 0.1})), HasSubstr("does not say how many experts"));
  EXPECT_THAT(what(balance_by_swipe(trace_of({{1, 2, 3}, {3, 2, 1}}), {})), HasSubstr("3 experts do not lie evenly"));
  const SelectionTrace summed({0}, {0}, {0}, {kSummedOverRanks}, 4);
  EXPECT_THAT(what(balance_by_swipe(summed, {})), HasSubstr("summed over ranks"));
  const SelectionTrace large = trace_of({{2147483647, 1}, {1, 1}});
  EXPECT_THAT(what(balance_by_swipe(large, {})), HasSubstr("a rank chooses 2147483648 experts in one micro-batch"));
  EXPECT_THAT(what(keep_on_node(large, {0, 2, 0.1})), HasSubstr("the most that can be rewritten is 2147483647"));
}

}  // namespace
}  // namespace moesim
