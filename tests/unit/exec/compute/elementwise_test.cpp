#include <gmock/gmock.h>

#include "kernel_testing.hpp"

namespace moesim::kernel_testing {
namespace {

class ElementwiseTest : public InBothFormats {};

TEST_P(ElementwiseTest, AddsAlsoInPlace) {
  for (const auto& [rows, columns] : {std::pair<std::int64_t, std::int64_t>{0, 3}, {1, 1}, {5, 13}}) {
    const DeviceMatrix a(GetParam(), rows, columns, random_values(1, rows * columns));
    const DeviceMatrix b(GetParam(), rows, columns, random_values(2, rows * columns));
    const DeviceMatrix y(GetParam(), rows, columns);
    const Values expected = sum_of(a.values(), b.values());
    expect_ok(backend().add(stream(), {a.view(), b.view(), y.view()}));
    expect_close("y", y.values(), expected, GetParam());
    expect_ok(backend().add(stream(), {a.view(), b.view(), b.view()}));
    EXPECT_EQ(b.values(), y.values());
  }
}

TEST_P(ElementwiseTest, ScalesInPlace) {
  const DeviceMatrix x(GetParam(), 3, 5, random_values(1, 15));
  Values expected = x.values();
  for (double& v : expected) v *= -1.5;
  expect_ok(backend().scale(stream(), {x.view(), -1.5F}));
  expect_close("x", x.values(), expected, GetParam());
}

TEST_P(ElementwiseTest, CastsEitherWay) {
  const DeviceMatrix x(GetParam(), 2, 9, random_values(1, 18));
  const DeviceMatrix wide(DType::kFp32, 2, 9), narrow(DType::kBf16, 2, 9);
  expect_ok(backend().cast(stream(), {x.view(), wide.view()}));
  EXPECT_EQ(wide.values(), x.values());
  expect_ok(backend().cast(stream(), {x.view(), narrow.view()}));
  expect_close("narrow", narrow.values(), x.values(), DType::kBf16, 0.0);
}

TEST_P(ElementwiseTest, SumsOfSquaresAddUp) {
  // Two calls on one number, the second over a row longer than a piece.
  const DeviceMatrix x(GetParam(), 3, 5, random_values(1, 15)), y(GetParam(), 2, 2500, random_values(2, 5000));
  const DeviceMatrix memory(DType::kFp32, 1, 2);
  auto* sum = static_cast<double*>(memory.view().data);
  expect_ok(backend().fill_zero(stream(), sum, Bytes(8)));
  expect_ok(backend().square_sum(stream(), {x.view(), sum}));
  expect_ok(backend().square_sum(stream(), {y.view(), sum}));
  double expected = 0.0;
  for (const DeviceMatrix* m : {&x, &y})
    for (const double v : m->values()) expected += v * v;
  double actual = 0.0;
  expect_ok(backend().copy_out(stream(), &actual, sum, Bytes(8)));
  EXPECT_NEAR(actual, expected, 1e-6 * expected);
}

INSTANTIATE_TEST_SUITE_P(Formats, ElementwiseTest, ::testing::Values(DType::kFp32, DType::kBf16), format_name);

TEST(ElementwiseErrorTest, RefusesWhatDoesNotFit) {
  const DeviceMatrix a(DType::kFp32, 2, 3, random_values(1, 6)), y(DType::kFp32, 3, 2);
  MatrixView half = a.view();
  half.type = DType::kFp8;
  EXPECT_THAT(refusal(backend().add(stream(), {a.view(), a.view(), y.view()})), ::testing::HasSubstr("a is 2 x 3"));
  EXPECT_THAT(refusal(backend().cast(stream(), {half, a.view()})), ::testing::HasSubstr("x is fp8"));
  EXPECT_THAT(refusal(backend().scale(stream(), {half, 2.0F})), ::testing::HasSubstr("x is fp8"));
  EXPECT_THAT(refusal(backend().square_sum(stream(), {a.view(), nullptr})), ::testing::HasSubstr("no memory"));
  EXPECT_TRUE(y.untouched());
}

}  // namespace
}  // namespace moesim::kernel_testing
