#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "trace_test_util.hpp"

namespace moesim {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::string_view kSmall =
    "iter,layer,micro_batch,src_rank,e0,e1,e2\n"
    "5,1,0,0,1,2,3\n"
    "5,1,0,1,3,2,1\n"
    "5,3,0,0,6,0,0\n"
    "5,3,0,1,0,6,0\n"
    "9,1,0,0,2,2,2\n"
    "9,1,0,1,1,1,4\n"
    "9,3,0,0,0,0,6\n"
    "9,3,0,1,5,1,0\n";

TEST(CountsCsv, ReadsTheCanonicalForm) {
  const TempFolder folder;
  const SelectionTrace trace = load_or_fail(folder.write("t.csv", kSmall));
  EXPECT_EQ(trace.dims(), (TraceDims{2, 2, 1, 2, 3}));
  EXPECT_THAT(trace.iterations(), ElementsAre(5, 9));
  EXPECT_THAT(trace.layers(), ElementsAre(1, 3));
  EXPECT_FALSE(trace.summed_over_ranks());
  EXPECT_THAT(row_of(trace, 0, 0, 0, 1), ElementsAre(3, 2, 1));
  EXPECT_THAT(row_of(trace, 1, 1, 0, 1), ElementsAre(5, 1, 0));
  EXPECT_EQ(trace.info.format, "counts-csv");
}

TEST(CountsCsv, ReadsCrLfByteOrderMarkAndWholeFloats) {
  const TempFolder folder;
  const SelectionTrace trace =
      load_or_fail(folder.write("t.csv", "\xEF\xBB\xBFiter,layer,e0,e1\r\n1,0,3.0,1e2\r\n\r\n2,0,0.00,7.\r\n"));
  EXPECT_TRUE(trace.summed_over_ranks());
  EXPECT_THAT(row_of(trace, 0, 0, 0, 0), ElementsAre(3, 100));
  EXPECT_THAT(row_of(trace, 1, 0, 0, 0), ElementsAre(0, 7));
}

TEST(CountsCsv, AcceptsOtherColumnOrdersAndTasks) {
  const TempFolder folder;
  const SelectionTrace ranks =
      load_or_fail(folder.write("r.csv", "iter,layer,rank,micro_batch,e0,e1\n1,0,0,1,4,5\n1,0,0,0,2,3\n"));
  EXPECT_EQ(ranks.dims(), (TraceDims{1, 1, 2, 1, 2}));
  EXPECT_THAT(row_of(ranks, 0, 0, 1, 0), ElementsAre(4, 5));
  const auto tasks = load_trace(folder.write("t.csv", "task,layer,e0,e1\nlaw,1,4,5\nintent,1,2,3\n"));
  ASSERT_TRUE(tasks);
  EXPECT_THAT(row_of(tasks->trace, 1, 0, 0, 0), ElementsAre(2, 3));
  EXPECT_TRUE(tasks->findings.has("tasks-as-iterations"));
}

TEST(CountsCsv, TakesTheSideFile) {
  const TempFolder folder;
  folder.write("t.csv.json",
               R"({"model": "tiny", "top_k": 2, "phase": "training", "origin": "synthetic", "drops": "none"})");
  const SelectionTrace trace = load_or_fail(folder.write("t.csv", kSmall));
  EXPECT_EQ(trace.info.model, "tiny");
  EXPECT_EQ(trace.info.top_k, 2);
  EXPECT_EQ(trace.info.tokens_per_rank_per_microbatch, 3);  // all rows sum to 6 = 3 tokens x top-2
  EXPECT_EQ(trace.info.origin, TraceOrigin::kSynthetic);
}

TEST(CountsCsv, SideFileErrorsNameThePlace) {
  const TempFolder folder;
  const std::string path = folder.write("t.csv", kSmall);
  folder.write("t.csv.json", R"({"top_kk": 2})");
  EXPECT_THAT(describe(error_of(path)), HasSubstr("top_kk"));
  folder.write("t.csv.json", R"({"phase": "sleeping"})");
  EXPECT_THAT(describe(error_of(path)), HasSubstr("t.csv.json#/phase"));
}

struct BadCase {
  std::string name;
  std::string content;
  std::string expected;
};

class BadCountsCsv : public testing::TestWithParam<BadCase> {};

TEST_P(BadCountsCsv, IsOneClearError) {
  const TempFolder folder;
  const Error error = error_of(folder.write("t.csv", GetParam().content));
  EXPECT_EQ(error.kind, ErrorKind::kInvalidInput);
  EXPECT_THAT(describe(error), HasSubstr(GetParam().expected));
  EXPECT_THAT(error.where, HasSubstr("t.csv"));
}

const std::string kHead = "iter,layer,e0,e1\n";
INSTANTIATE_TEST_SUITE_P(All, BadCountsCsv,
                         testing::Values(BadCase{"Empty", "", "file is empty"}, BadCase{"HeaderOnly", kHead, "no rows"},
                                         BadCase{"Negative", kHead + "1,0,-3,1\n", "negative: -3 @"},
                                         BadCase{"NaN", kHead + "1,0,3,nan\n", "NaN"},
                                         BadCase{"Fraction", kHead + "1,0,3,1.5\n", "not a whole number: 1.5"},
                                         BadCase{"Word", kHead + "1,0,3,x\n", "'x' is not a number"},
                                         BadCase{"TooLarge", kHead + "1,0,3,5000000000\n", "too large"},
                                         BadCase{"Missing", kHead + "1,0,,4\n", "column e0: a count is missing"},
                                         BadCase{"Short", kHead + "1,0,3\n", "fewer columns"},
                                         BadCase{"ShortLabels", kHead + "1,0,3,4\n1\n", "t.csv:3"},
                                         BadCase{"Long", kHead + "1,0,3,4,5\n", "more columns"},
                                         BadCase{"BadLabel", kHead + "1,x,3,4\n", "'x' is not a whole number"},
                                         BadCase{"Duplicate", kHead + "1,0,3,4\n2,0,3,4\n1,0,3,4\n",
                                                 "appears twice: iteration 1, layer 0"},
                                         BadCase{"AllZero", kHead + "1,0,0,0\n1,1,0,0\n", "all counts are zero"},
                                         BadCase{"UnknownColumn", "iter,layr,e0,e1\n1,0,3,4\n", "did you mean 'layer'"},
                                         BadCase{"NoLayer", "iter,e0,e1\n1,3,4\n", "no column 'layer'"},
                                         BadCase{"Gap", "layer,e0,e2\n1,3,4\n", "unexpected column 'e2'"},
                                         BadCase{"OneExpert", "layer,e0\n1,3\n", "1 experts"},
                                         BadCase{"MixedRanks", "layer,rank,e0,e1\n0,-1,3,4\n0,0,3,4\n", "mixed"}),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace moesim
