#include <gmock/gmock.h>

#include "kernel_testing.hpp"

namespace moesim::kernel_testing {
namespace {

// A vocabulary of 11 ids in three shards of 4 columns, the last of which has one column of padding.
constexpr std::int64_t kVocab = 11;
constexpr std::int64_t kShard = 4;
constexpr std::int64_t kRows = 6;
const std::vector<std::int32_t> kLabels = {0, 3, 4, 10, -1, 7};  // row 4 does not count
constexpr float kScale = 0.2F;

// Mean loss over the rows that count, of logits [rows, vocabulary].
Values reference(const Values& logits) {
  double loss = 0.0;
  for (std::int64_t r = 0; r < kRows; ++r) {
    if (kLabels[static_cast<std::size_t>(r)] < 0) continue;
    const double* row = logits.data() + r * kVocab;
    double sum = 0.0;
    for (std::int64_t i = 0; i < kVocab; ++i) sum += std::exp(row[i]);
    loss += std::log(sum) - row[kLabels[static_cast<std::size_t>(r)]];
  }
  return {loss};
}

class CrossEntropyTest : public InBothFormats {};

TEST_P(CrossEntropyTest, ShardsTogetherMatchFloat64) {
  const DeviceIndices labels(kLabels);
  const Values padded = random_values(1, kRows * 3 * kShard, 2.0);
  std::vector<std::unique_ptr<DeviceMatrix>> logits, parts, gradients;
  std::vector<MatrixView> part_views;
  for (std::int64_t shard = 0; shard < 3; ++shard) {
    Values columns;
    for (std::int64_t r = 0; r < kRows; ++r)
      for (std::int64_t i = 0; i < kShard; ++i)
        columns.push_back(padded[static_cast<std::size_t>((r * 3 + shard) * kShard + i)]);
    logits.push_back(std::make_unique<DeviceMatrix>(GetParam(), kRows, kShard, columns));
    parts.push_back(std::make_unique<DeviceMatrix>(DType::kFp32, kRows, 3));
    gradients.push_back(std::make_unique<DeviceMatrix>(GetParam(), kRows, kShard));
    part_views.push_back(parts.back()->view());
    expect_ok(backend().cross_entropy(stream(), {logits.back()->view(), labels.view(), shard * kShard,
                                                 std::min(kShard, kVocab - shard * kShard), parts.back()->view()}));
  }
  const DeviceMatrix combined(DType::kFp32, kRows, 3);
  expect_ok(backend().combine_loss(stream(), {part_views, combined.view()}));
  const DeviceMatrix sum_memory(DType::kFp32, 1, 2);
  auto* sum = static_cast<double*>(sum_memory.view().data);
  const double start = 100.0;
  expect_ok(backend().copy_in(stream(), sum, &start, Bytes(8)));
  expect_ok(backend().loss_sum(stream(), {combined.view(), labels.view(), sum}));
  double loss = 0.0;
  expect_ok(backend().copy_out(stream(), &loss, sum, Bytes(8)));

  const auto value_at = [&](std::int64_t r, std::int64_t id) {
    return logits[static_cast<std::size_t>(id / kShard)]->values()[static_cast<std::size_t>(r * kShard + id % kShard)];
  };
  Values all;
  for (std::int64_t r = 0; r < kRows; ++r)
    for (std::int64_t id = 0; id < kVocab; ++id) all.push_back(value_at(r, id));
  EXPECT_NEAR(loss - start, reference(all)[0], 1e-5);

  const Values expected = numeric_gradient(reference, all, {static_cast<double>(kScale)});
  for (std::int64_t shard = 0; shard < 3; ++shard) {
    const auto s = static_cast<std::size_t>(shard);
    const std::int64_t valid = std::min(kShard, kVocab - shard * kShard);
    expect_ok(backend().cross_entropy_grad(stream(), {logits[s]->view(), labels.view(), shard * kShard, valid,
                                                      combined.view(), kScale, gradients[s]->view()}));
    Values part;
    for (std::int64_t r = 0; r < kRows; ++r)
      for (std::int64_t i = 0; i < kShard; ++i)
        part.push_back(i < valid ? expected[static_cast<std::size_t>(r * kVocab + shard * kShard + i)] : 0.0);
    expect_close("glogits", gradients[s]->values(), part, GetParam());
    // The gradient may replace the logits.
    expect_ok(backend().cross_entropy_grad(stream(), {logits[s]->view(), labels.view(), shard * kShard, valid,
                                                      combined.view(), kScale, logits[s]->view()}));
    EXPECT_EQ(logits[s]->values(), gradients[s]->values());
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, CrossEntropyTest, ::testing::Values(DType::kFp32, DType::kBf16), format_name);

TEST(CrossEntropyExampleTest, TwoEqualLogits) {
  const DeviceIndices labels({0});
  const DeviceMatrix logits(DType::kFp32, 1, 2, {0, 0});
  const DeviceMatrix statistics(DType::kFp32, 1, 3);
  expect_ok(backend().cross_entropy(stream(), {logits.view(), labels.view(), 0, 2, statistics.view()}));
  EXPECT_EQ(statistics.values(), (Values{0, 2, 0}));
}

TEST(CrossEntropyExampleTest, LargeLogitsAndShardsOfPaddingStayFinite) {
  const DeviceIndices labels({1});
  const DeviceMatrix logits(DType::kFp32, 1, 2, {10000, 9999});
  const DeviceMatrix part(DType::kFp32, 1, 3), empty(DType::kFp32, 1, 3), combined(DType::kFp32, 1, 3);
  expect_ok(backend().cross_entropy(stream(), {logits.view(), labels.view(), 0, 2, part.view()}));
  expect_ok(backend().cross_entropy(stream(), {logits.view(), labels.view(), 2, 0, empty.view()}));
  const MatrixView parts[] = {part.view(), empty.view()};
  expect_ok(backend().combine_loss(stream(), {parts, combined.view()}));
  const Values s = combined.values();
  EXPECT_EQ(s[0], 10000.0);
  EXPECT_NEAR(s[1], 1.0 + std::exp(-1.0), 1e-6);
  EXPECT_EQ(s[2], 9999.0);
}

TEST(CrossEntropyErrorTest, RefusesWhatDoesNotFit) {
  const DeviceIndices labels({1});
  const DeviceMatrix logits(DType::kFp32, 1, 2, {1, 2});
  const DeviceMatrix statistics(DType::kFp32, 1, 3);
  EXPECT_THAT(refusal(backend().cross_entropy(stream(), {logits.view(), labels.view(), 0, 3, statistics.view()})),
              ::testing::HasSubstr("more valid columns"));
  EXPECT_THAT(refusal(backend().cross_entropy(stream(), {logits.view(), {}, 0, 2, statistics.view()})),
              ::testing::HasSubstr("labels has 0 entries"));
  EXPECT_THAT(refusal(backend().combine_loss(stream(), {{}, statistics.view()})), ::testing::HasSubstr("no parts"));
  EXPECT_THAT(refusal(backend().loss_sum(stream(), {statistics.view(), labels.view(), nullptr})),
              ::testing::HasSubstr("sum has no memory"));
  EXPECT_TRUE(statistics.untouched());
}

}  // namespace
}  // namespace moesim::kernel_testing
