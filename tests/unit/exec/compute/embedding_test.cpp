#include <gmock/gmock.h>

#include "kernel_testing.hpp"

namespace moesim::kernel_testing {
namespace {

constexpr std::int64_t kFirst = 10;  // the shard holds ids 10 to 14
constexpr std::int64_t kRows = 5;
constexpr std::int64_t kWidth = 7;
const std::vector<std::int32_t> kTokens = {10, 14, 9, 15, 12, 12, -1, 0};

class EmbeddingTest : public InBothFormats {};

TEST_P(EmbeddingTest, PicksRowsOfTheShardAndAddsTheirGradients) {
  const DeviceIndices tokens(kTokens);
  const auto count = std::ssize(kTokens);
  const DeviceMatrix table(GetParam(), kRows, kWidth, random_values(1, kRows * kWidth));
  const DeviceMatrix y(GetParam(), count, kWidth);
  expect_ok(backend().embedding(stream(), {tokens.view(), kFirst, table.view(), y.view()}));
  const DeviceMatrix gy(GetParam(), count, kWidth, random_values(2, count * kWidth));
  const DeviceMatrix gtable(DType::kFp32, kRows, kWidth, random_values(3, kRows * kWidth));
  Values expected_y;
  Values expected_g = gtable.values();
  const Values rows = table.values(), gys = gy.values();
  for (std::size_t t = 0; t < kTokens.size(); ++t)
    for (std::size_t i = 0; i < kWidth; ++i) {
      const bool here = kTokens[t] >= 10 && kTokens[t] <= 14;
      const std::size_t at = here ? static_cast<std::size_t>(kTokens[t] - 10) * kWidth + i : 0;
      expected_y.push_back(here ? rows[at] : 0.0);
      if (here) expected_g[at] += gys[t * kWidth + i];
    }
  expect_ok(backend().embedding_grad(stream(), {tokens.view(), kFirst, gy.view(), gtable.view()}));
  EXPECT_EQ(y.values(), expected_y);
  expect_close("gtable", gtable.values(), expected_g, DType::kFp32);
}

TEST_P(EmbeddingTest, NoTokensIsNoWork) {
  const DeviceIndices none(std::vector<std::int32_t>{});
  const DeviceMatrix table(GetParam(), 1, kWidth, random_values(1, kWidth));
  const DeviceMatrix y(GetParam(), 0, kWidth);
  const DeviceMatrix gtable(DType::kFp32, 1, kWidth, random_values(2, kWidth));
  const Values before = gtable.values();
  expect_ok(backend().embedding(stream(), {none.view(), 0, table.view(), y.view()}));
  expect_ok(backend().embedding_grad(stream(), {none.view(), 0, y.view(), gtable.view()}));
  EXPECT_EQ(gtable.values(), before);
}

INSTANTIATE_TEST_SUITE_P(Formats, EmbeddingTest, ::testing::Values(DType::kFp32, DType::kBf16), format_name);

TEST(EmbeddingErrorTest, RefusesWhatDoesNotFit) {
  const DeviceIndices tokens({0, 1});
  const DeviceMatrix table(DType::kFp32, 2, 3, random_values(1, 6));
  const DeviceMatrix y(DType::kFp32, 2, 4), g(DType::kBf16, 2, 3);
  EXPECT_THAT(refusal(backend().embedding(stream(), {tokens.view(), 0, table.view(), y.view()})),
              ::testing::HasSubstr("y is 2 x 4 and should be 2 x 3"));
  EXPECT_TRUE(y.untouched());
  EXPECT_THAT(refusal(backend().embedding_grad(stream(), {tokens.view(), 0, table.view(), g.view()})),
              ::testing::HasSubstr("gtable is bf16"));
}

}  // namespace
}  // namespace moesim::kernel_testing
