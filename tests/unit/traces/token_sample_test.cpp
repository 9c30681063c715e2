#include "traces/token_sample.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "trace_test_util.hpp"

namespace moesim {
namespace {

using ::testing::ElementsAre;

void push(TokenSample& sample, std::int64_t iteration, std::int32_t layer, std::int32_t rank, std::int64_t token,
          const std::vector<std::int32_t>& ids) {
  ASSERT_TRUE(sample.token({{iteration, layer, 0, rank}, token, ids, {"test", 1}}));
}

std::vector<std::int32_t> firsts(const TokenSet& set) {
  std::vector<std::int32_t> ids;
  for (std::size_t token = 0; token < set.size(); ++token) ids.push_back(set.of(token)[0]);
  std::sort(ids.begin(), ids.end());
  return ids;
}

TEST(TokenSample, IsTheRecordingWhileThereIsRoom) {
  TokenSample sample;
  EXPECT_TRUE(sample.empty());
  push(sample, 3, 1, 0, 0, {0, 1});
  push(sample, 3, 1, 7, 1, {2, -1});
  push(sample, 3, 2, 0, 0, {5, 4});
  const TokenSet set = sample.of(3, 1);
  EXPECT_EQ(set.top_k, 2);
  EXPECT_EQ(set.seen, 2);
  EXPECT_FALSE(set.sampled());
  EXPECT_THAT(firsts(set), ElementsAre(0, 2));
  const std::size_t of_seven = set.sources[0] == 7 ? 0 : 1;
  EXPECT_EQ(set.sources[of_seven], 7);
  EXPECT_THAT(set.of(of_seven), ElementsAre(2, -1));
  EXPECT_THAT(sample.of(3, 2).of(0), ElementsAre(5, 4));
  EXPECT_EQ(sample.of(4, 1).size(), 0U);
}

// Of 1000 rows in two layers the same 100 stay, in whatever order they come; they are an even sample: the mean of 0 .. 999 is 499.5, its
// standard error over 100 of them 27.4.
TEST(TokenSample, KeepsTheSameRowsInAnyOrder) {
  TokenSample forwards({.rows_per_set = 100});
  TokenSample backwards({.rows_per_set = 100});
  for (std::int32_t token = 0; token < 1000; ++token)
    for (std::int32_t layer = 0; layer < 2; ++layer) {
      push(forwards, 0, layer, 0, token, {token});
      push(backwards, 0, layer, 0, 999 - token, {999 - token});
    }
  const TokenSet set = forwards.of(0, 0);
  EXPECT_EQ(set.size(), 100U);
  EXPECT_EQ(set.seen, 1000);
  EXPECT_TRUE(set.sampled());
  EXPECT_EQ(firsts(set), firsts(forwards.of(0, 1)));
  EXPECT_EQ(set.experts, backwards.of(0, 0).experts);
  double mean = 0;
  for (const std::int32_t id : set.experts) mean += id / 100.0;
  EXPECT_NEAR(mean, 499.5, 3 * 27.4);
}

// 4 layers of 64 rows where 128 may be kept in all: the 129th halves them to 32 each, those of the lowest priorities.
TEST(TokenSample, HalvesAllSamplesWhenTheyAreTooMany) {
  TokenSample small({.rows_per_set = 64, .rows = 128});
  TokenSample large({.rows_per_set = 64});
  for (std::int32_t layer = 0; layer < 4; ++layer)
    for (std::int32_t token = 0; token < 64; ++token) {
      push(small, 0, layer, 0, token, {token});
      push(large, 0, layer, 0, token, {token});
    }
  const std::size_t kept = small.of(0, 0).size();
  EXPECT_EQ(kept, 32U);
  for (std::int32_t layer = 0; layer < 4; ++layer) {
    const TokenSet few = small.of(0, layer);
    const TokenSet all = large.of(0, layer);
    EXPECT_EQ(few.seen, 64);
    ASSERT_EQ(few.size(), kept);
    EXPECT_TRUE(std::equal(few.experts.begin(), few.experts.end(), all.experts.begin()));
  }
}

TEST(TokenSample, FromAFileInIterations) {
  const TempFolder folder;
  ImportOptions options;
  options.sequence_ranks = 2;
  options.sequences_per_iteration = 2;
  const std::string path =
      folder.write("s.csv", "seq,pos,L1,L2\n0,0,0 1,3 1\n0,1,0 3,2 0\n1,0,1 2,0 1\n2,0,0 1,0 1\n3,0,3 1,0 1\n");
  TokenSample tokens;
  const auto loaded = load_trace(path, options, &tokens);
  ASSERT_TRUE(loaded) << describe(loaded.error());
  EXPECT_EQ(loaded->trace.dims(), (TraceDims{2, 2, 1, 2, 4}));
  EXPECT_THAT(loaded->trace.iterations(), ElementsAre(0, 1));
  EXPECT_THAT(row_of(loaded->trace, 1, 0, 0, 1), ElementsAre(0, 1, 0, 1));
  EXPECT_EQ(tokens.of(0, 1).size(), 3U);
  EXPECT_EQ(tokens.of(1, 2).size(), 2U);
  EXPECT_EQ(tokens.of(1, 1).sources.size(), 2U);
}

}  // namespace
}  // namespace moesim
