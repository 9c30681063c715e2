#include <gmock/gmock.h>

#include "kernel_testing.hpp"

namespace moesim::kernel_testing {
namespace {

constexpr AdamWSettings kSettings{.rate = 0.01F, .beta1 = 0.9F, .beta2 = 0.95F, .epsilon = 1e-3F, .weight_decay = 0.1F};

class AdamWTest : public InBothFormats {};

TEST_P(AdamWTest, ThreeStepsMatchFloat64) {
  constexpr std::int64_t kCount = 21;
  const DeviceMatrix master(DType::kFp32, 1, kCount, random_values(1, kCount));
  const DeviceMatrix m(DType::kFp32, 1, kCount, Values(kCount, 0.0)), v(DType::kFp32, 1, kCount, Values(kCount, 0.0));
  const DeviceMatrix parameter(GetParam(), 1, kCount);
  Values w = master.values(), first(kCount, 0.0), second(kCount, 0.0);
  const double b1 = static_cast<double>(kSettings.beta1), b2 = static_cast<double>(kSettings.beta2);
  for (int step = 1; step <= 3; ++step) {
    const DeviceMatrix g(DType::kFp32, 1, kCount, random_values(static_cast<std::uint64_t>(step + 1), kCount));
    expect_ok(backend().adamw(stream(),
                              {kSettings, step, 0.5F, g.view(), master.view(), m.view(), v.view(), parameter.view()}));
    const Values gradient = g.values();
    for (std::size_t i = 0; i < kCount; ++i) {
      const double scaled = 0.5 * gradient[i];
      first[i] = b1 * first[i] + (1 - b1) * scaled;
      second[i] = b2 * second[i] + (1 - b2) * scaled * scaled;
      const double root = std::sqrt(second[i] / (1 - std::pow(b2, step))) + static_cast<double>(kSettings.epsilon);
      w[i] -= static_cast<double>(kSettings.rate) *
              (first[i] / (1 - std::pow(b1, step)) / root + static_cast<double>(kSettings.weight_decay) * w[i]);
    }
    expect_close("master", master.values(), w, DType::kFp32, 1e-6);
    expect_close("first moment", m.values(), first, DType::kFp32, 1e-6);
    expect_close("second moment", v.values(), second, DType::kFp32, 1e-6);
    expect_close("parameter", parameter.values(), w, GetParam(), 1e-6);
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, AdamWTest, ::testing::Values(DType::kFp32, DType::kBf16), format_name);

TEST(AdamWExampleTest, FirstStepIsTheRateAndMasterMayBeTheParameter) {
  const DeviceMatrix master(DType::kFp32, 1, 1, {1}), g(DType::kFp32, 1, 1, {2});
  const DeviceMatrix m(DType::kFp32, 1, 1, {0}), v(DType::kFp32, 1, 1, {0});
  expect_ok(backend().adamw(stream(),
                            {{.rate = 0.25F}, 1, 1.0F, g.view(), master.view(), m.view(), v.view(), master.view()}));
  EXPECT_NEAR(master.values()[0], 0.75, 1e-6);
}

TEST(AdamWErrorTest, RefusesWhatDoesNotFit) {
  const DeviceMatrix w(DType::kFp32, 1, 2, {1, 2}), narrow(DType::kBf16, 1, 2, {1, 2});
  const auto adamw = [&](std::int64_t step, const DeviceMatrix& moment) {
    return refusal(backend().adamw(stream(), {{}, step, 1.0F, w.view(), w.view(), moment.view(), w.view(), w.view()}));
  };
  EXPECT_THAT(adamw(0, w), ::testing::HasSubstr("count from 1"));
  EXPECT_THAT(adamw(1, narrow), ::testing::HasSubstr("first_moment is bf16"));
  EXPECT_EQ(w.values(), (Values{1, 2}));
}

}  // namespace
}  // namespace moesim::kernel_testing
