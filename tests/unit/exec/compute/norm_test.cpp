#include <gmock/gmock.h>

#include "kernel_testing.hpp"

namespace moesim::kernel_testing {
namespace {

constexpr float kEpsilon = 1e-3F;  // large enough to matter in the test

struct Shape {
  std::int64_t rows, columns, covered;
};
constexpr Shape kShapes[] = {{0, 4, 4}, {1, 1, 1}, {1, 7, 7}, {5, 33, 33}, {3, 20, 12}, {2, 129, 128}};

// x then w behind it, so that one function serves both gradients.
Values reference(const Shape& s, const Values& x_and_w) {
  const auto [rows, columns, covered] = s;
  const auto w = static_cast<std::size_t>(rows * columns);
  Values y;
  for (std::int64_t r = 0; r < rows; ++r) {
    const double* x = x_and_w.data() + r * columns;
    double squares = 0.0;
    for (std::int64_t c = 0; c < covered; ++c) squares += x[c] * x[c];
    const double root = std::sqrt(squares / static_cast<double>(covered) + static_cast<double>(kEpsilon));
    for (std::int64_t c = 0; c < columns; ++c)
      y.push_back(c < covered ? x[c] / root * x_and_w[w + static_cast<std::size_t>(c)] : x[c]);
  }
  return y;
}

using NormTest = InBothFormats;

TEST_P(NormTest, ForwardAndGradientsMatchFloat64) {
  for (const Shape& s : kShapes) {
    SCOPED_TRACE(::testing::Message() << s.rows << " x " << s.columns << ", norm over " << s.covered);
    const DeviceMatrix x(GetParam(), s.rows, s.columns, random_values(1, s.rows * s.columns));
    const DeviceMatrix w(GetParam(), 1, s.covered, random_values(2, s.covered));
    const DeviceMatrix y(GetParam(), s.rows, s.columns);
    expect_ok(backend().norm(stream(), {x.view(), w.view(), y.view(), kEpsilon}));
    Values both = x.values();
    const Values weights = w.values();
    both.insert(both.end(), weights.begin(), weights.end());
    expect_close("y", y.values(), reference(s, both), GetParam());

    const DeviceMatrix gy(GetParam(), s.rows, s.columns, random_values(3, s.rows * s.columns));
    const DeviceMatrix gx(GetParam(), s.rows, s.columns);
    const DeviceMatrix gw(DType::kFp32, 1, s.covered, random_values(4, s.covered));
    const Values before = gw.values();
    expect_ok(backend().norm_grad(stream(), {gy.view(), x.view(), w.view(), gx.view(), gw.view(), kEpsilon}));
    const Values gradient = numeric_gradient([&](const Values& at) { return reference(s, at); }, both, gy.values());
    const auto split = gradient.begin() + s.rows * s.columns;
    // Of a single column nearly all of the gradient cancels, and the rounding of its two terms is left.
    const double of_scale = s.columns == 1 ? 1e-4 : 1e-5;
    expect_close("gx", gx.values(), Values(gradient.begin(), split), GetParam(), of_scale);
    expect_close("gw", gw.values(), sum_of(before, Values(split, gradient.end())), DType::kFp32);

    const DeviceMatrix alone(GetParam(), s.rows, s.columns);
    expect_ok(backend().norm_grad(stream(), {gy.view(), x.view(), w.view(), alone.view(), std::nullopt, kEpsilon}));
    EXPECT_EQ(alone.values(), gx.values());
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, NormTest, ::testing::Values(DType::kFp32, DType::kBf16), format_name);

TEST(NormExampleTest, MeanSquareOfThreeAndFour) {
  // (9 + 16) / 2 = 12.5; 3 / sqrt(12.5) = 0.848528, 2 * 4 / sqrt(12.5) = 2.262742.
  const DeviceMatrix x(DType::kFp32, 1, 2, {3, 4});
  const DeviceMatrix w(DType::kFp32, 1, 2, {1, 2});
  const DeviceMatrix y(DType::kFp32, 1, 2);
  expect_ok(backend().norm(stream(), {x.view(), w.view(), y.view(), 0.0F}));
  EXPECT_NEAR(y.values()[0], 0.848528, 1e-6);
  EXPECT_NEAR(y.values()[1], 2.262742, 1e-6);
}

TEST(NormErrorTest, RefusesMoreWeightsThanColumns) {
  const DeviceMatrix x(DType::kFp32, 1, 2, {3, 4});
  const DeviceMatrix w(DType::kFp32, 1, 3, {1, 2, 3});
  const DeviceMatrix y(DType::kFp32, 1, 2);
  EXPECT_THAT(refusal(backend().norm(stream(), {x.view(), w.view(), y.view()})),
              ::testing::HasSubstr("more columns than x"));
  EXPECT_TRUE(y.untouched());
}

}  // namespace
}  // namespace moesim::kernel_testing
