#include <gmock/gmock.h>

#include "kernel_testing.hpp"

namespace moesim::kernel_testing {
namespace {

constexpr std::int64_t kRest = 5;  // columns after the q and k heads

enum class Norms { kNone, kPerHead, kTogether };

struct Case {
  RotaryShape shape;
  Norms norms;
};
RotaryShape shape(std::int64_t q_heads, std::int64_t k_heads, std::int64_t head_dim, std::int64_t rotary_dim) {
  return {.q_heads = q_heads,
          .k_heads = k_heads,
          .head_dim = head_dim,
          .rotary_dim = rotary_dim,
          .theta = 500.0,
          .norm_epsilon = 1e-3F};
}
const Case kCases[] = {
    {shape(3, 2, 8, 8), Norms::kNone},    {shape(3, 2, 8, 4), Norms::kPerHead}, {shape(3, 2, 8, 8), Norms::kTogether},
    {shape(2, 0, 6, 6), Norms::kPerHead}, {shape(0, 2, 6, 2), Norms::kPerHead}, {shape(1, 1, 5, 0), Norms::kNone},
};
// As a context-parallel rank holds them: two slices of a sequence, and a far one.
const std::vector<std::int32_t> kPositions = {0, 1, 14, 15, 100000};

void normalise(double* x, const double* w, std::int64_t n, double epsilon) {
  double squares = 0.0;
  for (std::int64_t i = 0; i < n; ++i) squares += x[i] * x[i];
  const double root = std::sqrt(squares / static_cast<double>(n) + epsilon);
  for (std::int64_t i = 0; i < n; ++i) x[i] = x[i] / root * w[i];
}

struct Reference {
  Case c;
  std::int64_t q_width, k_width;  // of the norms

  // x, then the q norm's weight, then the k norm's.
  Values operator()(const Values& operands) const {
    const RotaryShape& s = c.shape;
    const std::int64_t columns = (s.q_heads + s.k_heads) * s.head_dim + kRest;
    const auto rows = static_cast<std::int64_t>(kPositions.size());
    Values y(operands.begin(), operands.begin() + rows * columns);
    const double* q_weight = operands.data() + rows * columns;
    const double* k_weight = q_weight + q_width;
    const double epsilon = static_cast<double>(s.norm_epsilon);
    for (std::int64_t r = 0; r < rows; ++r) {
      double* row = y.data() + r * columns;
      double* keys = row + s.q_heads * s.head_dim;
      if (q_width > 0)
        for (double* x = row; x < keys; x += q_width) normalise(x, q_weight, q_width, epsilon);
      if (k_width > 0)
        for (double* x = keys; x < keys + s.k_heads * s.head_dim; x += k_width)
          normalise(x, k_weight, k_width, epsilon);
      for (std::int64_t head = 0; head < s.q_heads + s.k_heads; ++head)
        for (std::int64_t i = 0; i < s.rotary_dim / 2; ++i) {
          const double angle = kPositions[static_cast<std::size_t>(r)] *
                               std::pow(s.theta, -2.0 * static_cast<double>(i) / static_cast<double>(s.rotary_dim));
          double& a = row[head * s.head_dim + i];
          double& b = row[head * s.head_dim + i + s.rotary_dim / 2];
          const double turned = a * std::cos(angle) - b * std::sin(angle);
          b = a * std::sin(angle) + b * std::cos(angle);
          a = turned;
        }
    }
    return y;
  }
};

using RotaryTest = InBothFormats;

TEST_P(RotaryTest, ForwardAndGradientsMatchFloat64) {
  const DeviceIndices positions(kPositions);
  const auto rows = static_cast<std::int64_t>(kPositions.size());
  for (const Case& c : kCases) {
    const RotaryShape& s = c.shape;
    SCOPED_TRACE(::testing::Message() << s.q_heads << " + " << s.k_heads << " heads of " << s.head_dim << ", norms "
                                      << static_cast<int>(c.norms));
    const std::int64_t columns = (s.q_heads + s.k_heads) * s.head_dim + kRest;
    const auto width = [&](std::int64_t heads) {
      return c.norms == Norms::kNone ? 0 : c.norms == Norms::kPerHead ? s.head_dim : heads * s.head_dim;
    };
    const Reference reference{c, width(s.q_heads), width(s.k_heads)};
    const DeviceMatrix x(GetParam(), rows, columns, random_values(1, rows * columns));
    const DeviceMatrix q_norm(GetParam(), 1, reference.q_width, random_values(2, reference.q_width));
    const DeviceMatrix k_norm(GetParam(), 1, reference.k_width, random_values(3, reference.k_width));
    const auto given = [&](const DeviceMatrix& norm) {
      return c.norms == Norms::kNone ? std::nullopt : std::optional<MatrixView>(norm.view());
    };
    const DeviceMatrix y(GetParam(), rows, columns);
    expect_ok(backend().rotary(stream(), {s, positions.view(), x.view(), given(q_norm), given(k_norm), y.view()}));
    Values operands = x.values();
    for (const DeviceMatrix* norm : {&q_norm, &k_norm})
      for (const double w : norm->values()) operands.push_back(w);
    expect_close("y", y.values(), reference(operands), GetParam());

    const DeviceMatrix gy(GetParam(), rows, columns, random_values(4, rows * columns));
    const DeviceMatrix gx(GetParam(), rows, columns);
    const DeviceMatrix gq(DType::kFp32, 1, reference.q_width, random_values(5, reference.q_width));
    const DeviceMatrix gk(DType::kFp32, 1, reference.k_width, random_values(6, reference.k_width));
    Values expected = numeric_gradient(reference, operands, gy.values());
    const auto weights = static_cast<std::size_t>(rows * columns);
    Values norms_before = gq.values();
    for (const double g : gk.values()) norms_before.push_back(g);
    const std::optional<MatrixView> x_given =
        c.norms == Norms::kNone ? std::nullopt : std::optional<MatrixView>(x.view());
    expect_ok(backend().rotary_grad(stream(), {s, positions.view(), gy.view(), x_given, given(q_norm), given(k_norm),
                                               gx.view(), given(gq), given(gk)}));
    expect_close("gx", gx.values(), Values(expected.begin(), expected.begin() + static_cast<std::ptrdiff_t>(weights)),
                 GetParam());
    Values norms_after = gq.values();
    for (const double g : gk.values()) norms_after.push_back(g);
    expected.erase(expected.begin(), expected.begin() + static_cast<std::ptrdiff_t>(weights));
    expect_close("gradients of the norms", norms_after, sum_of(norms_before, expected), DType::kFp32);
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, RotaryTest, ::testing::Values(DType::kFp32, DType::kBf16), format_name);

TEST(RotaryExampleTest, PositionOneTurnsByOneRadian) {
  const DeviceIndices positions({1});
  const DeviceMatrix x(DType::kFp32, 1, 2, {1, 0});
  const DeviceMatrix y(DType::kFp32, 1, 2);
  const RotaryShape s{.q_heads = 1, .k_heads = 0, .head_dim = 2, .rotary_dim = 2};
  expect_ok(backend().rotary(stream(), {s, positions.view(), x.view(), {}, {}, y.view()}));
  EXPECT_NEAR(y.values()[0], 0.540302, 1e-6);  // cos 1
  EXPECT_NEAR(y.values()[1], 0.841471, 1e-6);  // sin 1
}

TEST(RotaryErrorTest, RefusesWhatDoesNotFit) {
  const DeviceIndices positions({1});
  const DeviceMatrix x(DType::kFp32, 1, 4, {1, 0, 2, 3});
  const DeviceMatrix norm(DType::kFp32, 1, 3, {1, 1, 1});
  const DeviceMatrix y(DType::kFp32, 1, 4);
  const auto rotary = [&](const RotaryShape& s, const IndexView& at, const std::optional<MatrixView>& q_norm) {
    return refusal(backend().rotary(stream(), {s, at, x.view(), q_norm, {}, y.view()}));
  };
  EXPECT_THAT(rotary(shape(2, 1, 2, 2), positions.view(), {}), ::testing::HasSubstr("more columns"));
  EXPECT_THAT(rotary(shape(1, 1, 2, 1), positions.view(), {}), ::testing::HasSubstr("rotary_dim"));
  EXPECT_THAT(rotary(shape(1, 1, 0, 0), positions.view(), {}), ::testing::HasSubstr("no columns"));
  EXPECT_THAT(rotary(shape(1, 1, 2, 2), {}, {}), ::testing::HasSubstr("positions has 0 entries"));
  EXPECT_THAT(rotary(shape(1, 1, 2, 2), positions.view(), norm.view()),
              ::testing::HasSubstr("neither one head nor all"));
  EXPECT_TRUE(y.untouched());
  const DeviceMatrix q_norm(DType::kFp32, 1, 2, {1, 1});
  const RotaryGradArgs without_x{
      shape(1, 1, 2, 2), positions.view(), x.view(), {}, q_norm.view(), {}, y.view(), {}, {}};
  EXPECT_THAT(refusal(backend().rotary_grad(stream(), without_x)), ::testing::HasSubstr("needs x"));
}

}  // namespace
}  // namespace moesim::kernel_testing
