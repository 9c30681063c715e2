// The paths for rows that are read eight columns at a time, which the matrices of the other tests, with their gaps of three, never
// take: each kernel on wide memory must give, bit by bit, what it gives on the same numbers with gaps.
#include <gmock/gmock.h>

#include <cstring>

#include "tests/unit/exec/compute/kernel_testing.hpp"

namespace moesim::kernel_testing {
namespace {

// A matrix without gaps.
class WideMatrix {
 public:
  WideMatrix(DType type, std::int64_t rows, std::int64_t columns, const Values& values) {
    const DeviceMatrix gapped(type, rows, columns, values);
    const std::int64_t bytes = storage(1, type).count();
    view_ = dense_view(backend().allocate(storage(rows * columns, type)).value(), type, rows, columns);
    for (std::int64_t r = 0; r < rows; ++r)
      expect_ok(backend().copy(stream(), static_cast<std::byte*>(view_.data) + r * columns * bytes,
                               static_cast<const std::byte*>(gapped.view().data) + r * gapped.view().row_stride * bytes,
                               Bytes(columns * bytes)));
    expect_ok(backend().synchronize(stream()));
  }
  WideMatrix(DType type, std::int64_t rows, std::int64_t columns)
      : WideMatrix(type, rows, columns, Values(static_cast<std::size_t>(rows * columns), std::nan(""))) {}
  WideMatrix(const WideMatrix&) = delete;
  WideMatrix& operator=(const WideMatrix&) = delete;
  ~WideMatrix() { backend().free(view_.data); }
  [[nodiscard]] const MatrixView& view() const { return view_; }
  [[nodiscard]] Values values() const {
    std::vector<std::byte> bytes(static_cast<std::size_t>(storage(view_.rows * view_.columns, view_.type).count()));
    expect_ok(backend().copy_out(stream(), bytes.data(), view_.data, Bytes(std::ssize(bytes))));
    Values result;
    for (std::int64_t i = 0; i < view_.rows * view_.columns; ++i) {
      std::uint16_t half = 0;
      float full = 0;
      if (view_.type == DType::kBf16)
        std::memcpy(&half, bytes.data() + 2 * i, 2), full = bf16_to_float(half);
      else
        std::memcpy(&full, bytes.data() + 4 * i, 4);
      result.push_back(static_cast<double>(full));
    }
    return result;
  }

 private:
  MatrixView view_;
};

class WideRowsTest : public InBothFormats {};

constexpr std::int64_t kRows = 5;
constexpr std::int64_t kColumns = 48;
constexpr std::int64_t kCount = kRows * kColumns;

// The same kernel on both kinds of matrices. Reductions over a row take another order, so sums differ in their last bits.
template <class Run>
void expect_same(const std::string& what, DType type, std::int64_t rows, std::int64_t columns, const Run& run) {
  const DeviceMatrix gapped(type, rows, columns);
  const WideMatrix wide(type, rows, columns);
  run(gapped.view(), [&](std::uint64_t seed, std::int64_t r, std::int64_t c) {
    return std::make_shared<DeviceMatrix>(type, r, c, random_values(seed, r * c));
  });
  run(wide.view(), [&](std::uint64_t seed, std::int64_t r, std::int64_t c) {
    return std::make_shared<WideMatrix>(type, r, c, random_values(seed, r * c));
  });
  expect_close(what, wide.values(), gapped.values(), type, 1e-6);
}

TEST_P(WideRowsTest, Elementwise) {
  expect_same("add", GetParam(), kRows, kColumns, [](const MatrixView& y, const auto& input) {
    expect_ok(backend().add(stream(), {input(1, kRows, kColumns)->view(), input(2, kRows, kColumns)->view(), y}));
    expect_ok(backend().scale(stream(), {y, 1.5F}));
  });
  expect_same("cast", GetParam(), kRows, kColumns, [](const MatrixView& y, const auto& input) {
    expect_ok(backend().cast(stream(), {input(1, kRows, kColumns)->view(), y}));
  });
}

TEST_P(WideRowsTest, NormAndItsGradient) {
  expect_same("norm", GetParam(), kRows, kColumns, [](const MatrixView& y, const auto& input) {
    expect_ok(backend().norm(stream(), {input(1, kRows, kColumns)->view(), input(2, 1, 40)->view(), y}));
  });
  const DeviceMatrix gapped_gw(DType::kFp32, 1, 40, Values(40, 1.0));
  const WideMatrix wide_gw(DType::kFp32, 1, 40, Values(40, 1.0));
  const MatrixView* gw = &gapped_gw.view();
  expect_same("norm_grad", GetParam(), kRows, kColumns, [&](const MatrixView& gx, const auto& input) {
    expect_ok(backend().norm_grad(stream(), {input(1, kRows, kColumns)->view(), input(2, kRows, kColumns)->view(),
                                             input(3, 1, 40)->view(), gx, *std::exchange(gw, &wide_gw.view())}));
  });
  expect_close("gw", wide_gw.values(), gapped_gw.values(), DType::kFp32, 1e-6);
}

TEST_P(WideRowsTest, ActivationsAndTheirGradients) {
  for (const ActivationKind kind : {ActivationKind::kSwiGlu, ActivationKind::kSilu, ActivationKind::kGelu}) {
    const std::int64_t inputs = kind == ActivationKind::kSwiGlu ? 2 * kColumns : kColumns;
    expect_same("activation", GetParam(), kRows, kColumns, [&](const MatrixView& y, const auto& input) {
      expect_ok(backend().activation(stream(), {kind, input(1, kRows, inputs)->view(), {}, y}));
    });
    expect_same("activation_grad", GetParam(), kRows, inputs, [&](const MatrixView& gx, const auto& input) {
      expect_ok(backend().activation_grad(
          stream(), {kind, input(1, kRows, kColumns)->view(), input(2, kRows, inputs)->view(), {}, gx, {}}));
    });
  }
}

TEST_P(WideRowsTest, EmbeddingAndCrossEntropy) {
  const DeviceIndices tokens({3, 0, 9, 2, 3});
  expect_same("embedding", GetParam(), kRows, kColumns, [&](const MatrixView& y, const auto& input) {
    expect_ok(backend().embedding(stream(), {tokens.view(), 0, input(1, 4, kColumns)->view(), y}));
  });
  const DeviceMatrix statistics(DType::kFp32, kRows, 3);
  expect_same("cross_entropy", GetParam(), kRows, kColumns, [&](const MatrixView& g, const auto& input) {
    const auto logits = input(1, kRows, kColumns);
    expect_ok(backend().cross_entropy(stream(), {logits->view(), tokens.view(), 0, 43, statistics.view()}));
    expect_ok(
        backend().cross_entropy_grad(stream(), {logits->view(), tokens.view(), 0, 43, statistics.view(), 0.5F, g}));
  });
}

TEST_P(WideRowsTest, PermutesAndSorts) {
  const DeviceMatrix probabilities(DType::kFp32, kRows, 4,
                                   {0.5, 0.2, 1, 0, 0.1, 0.9, 2, 1, 0.3, 0.3, 0, 2, 0.6, 0.4, 1, 2, 0.7, 0.1, 0, 1});
  const DeviceIndices rows(std::vector<std::int32_t>(3)), of_copy(std::vector<std::int32_t>(10)),
      of_row(std::vector<std::int32_t>(10));
  const RoutingMap map{kRows, 2, 3, 0, CapacityPadding::kNone, rows.data(), of_copy.data(), of_row.data()};
  expect_ok(backend().build_routing(stream(), {probabilities.view(), map}));
  expect_same("permute", GetParam(), 2 * kRows, kColumns, [&](const MatrixView& y, const auto& input) {
    expect_ok(backend().permute(stream(), {map, input(1, kRows, kColumns)->view(), {}, y, {}}));
  });
  expect_same("permute_grad", GetParam(), kRows, kColumns, [&](const MatrixView& gx, const auto& input) {
    expect_ok(backend().permute_grad(stream(), {map, input(1, 2 * kRows, kColumns)->view(), {}, gx, {}}));
  });
  expect_same("unpermute", GetParam(), kRows, kColumns, [&](const MatrixView& x, const auto& input) {
    expect_ok(backend().unpermute(stream(), {map, input(1, 2 * kRows, kColumns)->view(), probabilities.view(), x}));
  });
  const DeviceMatrix gapped_gp(DType::kFp32, kRows, 4), wide_gp(DType::kFp32, kRows, 4);
  const MatrixView* gp = &gapped_gp.view();
  expect_same("unpermute_grad", GetParam(), 2 * kRows, kColumns, [&](const MatrixView& gy, const auto& input) {
    expect_ok(backend().unpermute_grad(
        stream(), {map, input(1, kRows, kColumns)->view(), probabilities.view(), input(2, 2 * kRows, kColumns)->view(),
                   gy, *std::exchange(gp, &wide_gp.view())}));
  });
  expect_close("gp", wide_gp.values(), gapped_gp.values(), DType::kFp32, 1e-6);
  const std::int64_t counts[] = {1, 2, 0, 2};
  expect_same("sort_rows", GetParam(), kRows, kColumns, [&](const MatrixView& y, const auto& input) {
    expect_ok(backend().sort_rows(stream(), {counts, 2, RowOrder::kByExpert, input(1, kRows, kColumns)->view(), y}));
  });
  const RowRun runs[] = {{2, 0, 3}, {0, 3, kRows - 3}};
  expect_same("move_rows", GetParam(), kRows, kColumns, [&](const MatrixView& y, const auto& input) {
    expect_ok(backend().move_rows(stream(), {runs, input(1, kRows, kColumns)->view(), y}));
  });
}

TEST_P(WideRowsTest, Optimizer) {
  const DeviceMatrix states[] = {{DType::kFp32, kRows, kColumns, random_values(1, kCount)},
                                 {DType::kFp32, kRows, kColumns, Values(kCount, 0.0)},
                                 {DType::kFp32, kRows, kColumns, Values(kCount, 0.0)}};
  const WideMatrix wide_states[] = {{DType::kFp32, kRows, kColumns, random_values(1, kCount)},
                                    {DType::kFp32, kRows, kColumns, Values(kCount, 0.0)},
                                    {DType::kFp32, kRows, kColumns, Values(kCount, 0.0)}};
  const DeviceMatrix g(DType::kFp32, kRows, kColumns, random_values(2, kCount)), parameter(GetParam(), kRows, kColumns);
  const WideMatrix wide_g(DType::kFp32, kRows, kColumns, random_values(2, kCount));
  const WideMatrix wide_parameter(GetParam(), kRows, kColumns);
  expect_ok(backend().adamw(
      stream(), {{}, 3, 0.5F, g.view(), states[0].view(), states[1].view(), states[2].view(), parameter.view()}));
  expect_ok(backend().adamw(stream(), {{},
                                       3,
                                       0.5F,
                                       wide_g.view(),
                                       wide_states[0].view(),
                                       wide_states[1].view(),
                                       wide_states[2].view(),
                                       wide_parameter.view()}));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(wide_states[i].values(), states[i].values());
  EXPECT_EQ(wide_parameter.values(), parameter.values());
}

INSTANTIATE_TEST_SUITE_P(Formats, WideRowsTest, ::testing::Values(DType::kFp32, DType::kBf16), format_name);

}  // namespace
}  // namespace moesim::kernel_testing
