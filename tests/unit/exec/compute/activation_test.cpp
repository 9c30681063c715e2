#include <gmock/gmock.h>

#include "kernel_testing.hpp"

namespace moesim::kernel_testing {
namespace {

double silu(double x) { return x / (1.0 + std::exp(-x)); }
double gelu(double x) { return 0.5 * x * std::erfc(-x / std::sqrt(2.0)); }

struct Reference {
  ActivationKind kind;
  std::int64_t rows, columns;  // of y

  [[nodiscard]] std::int64_t x_columns() const { return kind == ActivationKind::kSwiGlu ? 2 * columns : columns; }
  // x, then the row weights.
  Values operator()(const Values& operands) const {
    Values y;
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t c = 0; c < columns; ++c) {
        const double* x = operands.data() + r * x_columns();
        const double weight = operands[static_cast<std::size_t>(rows * x_columns() + r)];
        switch (kind) {
          case ActivationKind::kSwiGlu: y.push_back(weight * silu(x[c]) * x[columns + c]); break;
          case ActivationKind::kSilu: y.push_back(weight * silu(x[c])); break;
          case ActivationKind::kGelu: y.push_back(weight * gelu(x[c])); break;
        }
      }
    return y;
  }
};

constexpr ActivationKind kKinds[] = {ActivationKind::kSwiGlu, ActivationKind::kSilu, ActivationKind::kGelu};

class ActivationTest : public InBothFormats {};

TEST_P(ActivationTest, ForwardAndGradientsMatchFloat64) {
  for (const ActivationKind kind : kKinds)
    for (const auto& [rows, columns] : {std::pair<std::int64_t, std::int64_t>{0, 3}, {1, 1}, {4, 17}, {3, 64}})
      for (const bool weighted : {false, true}) {
        SCOPED_TRACE(::testing::Message() << "kind " << static_cast<int>(kind) << ", " << rows << " x " << columns
                                          << (weighted ? ", weighted" : ""));
        const Reference reference{kind, rows, columns};
        const std::int64_t wide = reference.x_columns();
        const DeviceMatrix x(GetParam(), rows, wide, random_values(1, rows * wide, 2.0));
        const DeviceMatrix w(DType::kFp32, rows, 1,
                             weighted ? random_values(2, rows) : Values(static_cast<std::size_t>(rows), 1.0));
        const std::optional<MatrixView> given = weighted ? std::optional<MatrixView>(w.view()) : std::nullopt;
        const DeviceMatrix y(GetParam(), rows, columns);
        expect_ok(backend().activation(stream(), {kind, x.view(), given, y.view()}));
        Values operands = x.values();
        for (const double v : w.values()) operands.push_back(v);
        expect_close("y", y.values(), reference(operands), GetParam());

        const DeviceMatrix gy(GetParam(), rows, columns, random_values(3, rows * columns));
        const DeviceMatrix gx(GetParam(), rows, wide);
        const DeviceMatrix gw(DType::kFp32, rows, 1);
        const std::optional<MatrixView> gw_wanted = weighted ? std::optional<MatrixView>(gw.view()) : std::nullopt;
        expect_ok(backend().activation_grad(stream(), {kind, gy.view(), x.view(), given, gx.view(), gw_wanted}));
        const Values gradient = numeric_gradient(reference, operands, gy.values());
        const auto split = gradient.begin() + rows * wide;
        expect_close("gx", gx.values(), Values(gradient.begin(), split), GetParam());
        if (weighted)
          expect_close("gw", gw.values(), Values(split, gradient.end()), DType::kFp32);
        else
          EXPECT_TRUE(gw.untouched());
      }
}

TEST_P(ActivationTest, FarValuesStayFinite) {
  for (const ActivationKind kind : {ActivationKind::kSilu, ActivationKind::kGelu}) {
    const DeviceMatrix x(GetParam(), 1, 4, {-1000, -96, 96, 1000});
    const DeviceMatrix gy(GetParam(), 1, 4, {1, 1, 1, 1});
    const DeviceMatrix y(GetParam(), 1, 4);
    const DeviceMatrix gx(GetParam(), 1, 4);
    expect_ok(backend().activation(stream(), {kind, x.view(), {}, y.view()}));
    expect_ok(backend().activation_grad(stream(), {kind, gy.view(), x.view(), {}, gx.view(), {}}));
    EXPECT_EQ(y.values(), (Values{0, 0, 96, 1000}));
    EXPECT_EQ(gx.values(), (Values{0, 0, 1, 1}));
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, ActivationTest, ::testing::Values(DType::kFp32, DType::kBf16), format_name);

TEST(ActivationErrorTest, GatedNeedsTwiceTheColumns) {
  const DeviceMatrix x(DType::kFp32, 1, 4, {1, 2, 3, 4});
  const DeviceMatrix y(DType::kFp32, 1, 4);
  const DeviceMatrix w(DType::kBf16, 1, 1, {1});
  EXPECT_THAT(refusal(backend().activation(stream(), {ActivationKind::kSwiGlu, x.view(), {}, y.view()})),
              ::testing::HasSubstr("x is 1 x 4 and should be 1 x 8"));
  EXPECT_THAT(refusal(backend().activation(stream(), {ActivationKind::kSilu, x.view(), w.view(), y.view()})),
              ::testing::HasSubstr("row_weights is bf16"));
  EXPECT_TRUE(y.untouched());
}

}  // namespace
}  // namespace moesim::kernel_testing
