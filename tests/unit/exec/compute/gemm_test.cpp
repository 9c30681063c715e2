#include <gmock/gmock.h>

#include "kernel_testing.hpp"

namespace moesim::kernel_testing {
namespace {

using ::testing::HasSubstr;

struct Shape {
  std::int64_t rows, in, out;
};
constexpr Shape kShapes[] = {{0, 5, 3}, {1, 1, 1}, {1, 7, 5}, {3, 0, 4}, {17, 33, 9}, {64, 128, 96}, {130, 65, 70}};

double at(const Values& m, std::int64_t columns, std::int64_t r, std::int64_t c) {
  return m[static_cast<std::size_t>(r * columns + c)];
}

// One expert's part of each product: rows [first, first + rows) of x and y, matrix `group` of w.
struct Part {
  std::int64_t first, rows, group;
};
std::vector<Part> parts_of(const std::vector<std::int64_t>& group_rows) {
  std::vector<Part> parts;
  std::int64_t first = 0;
  for (std::size_t g = 0; g < group_rows.size(); ++g) {
    parts.push_back({first, group_rows[g], static_cast<std::int64_t>(g)});
    first += group_rows[g];
  }
  return parts;
}

struct Reference {
  std::vector<Part> parts;
  std::int64_t in, out;

  Values forward(const Values& x, const Values& w) const {
    Values y;
    for (const Part& p : parts)
      for (std::int64_t r = p.first; r < p.first + p.rows; ++r)
        for (std::int64_t o = 0; o < out; ++o) {
          double sum = 0.0;
          for (std::int64_t i = 0; i < in; ++i) sum += at(x, in, r, i) * at(w, out, p.group * in + i, o);
          y.push_back(sum);
        }
    return y;
  }
  Values dgrad(const Values& gy, const Values& w) const {
    Values gx;
    for (const Part& p : parts)
      for (std::int64_t r = p.first; r < p.first + p.rows; ++r)
        for (std::int64_t i = 0; i < in; ++i) {
          double sum = 0.0;
          for (std::int64_t o = 0; o < out; ++o) sum += at(gy, out, r, o) * at(w, out, p.group * in + i, o);
          gx.push_back(sum);
        }
    return gx;
  }
  Values wgrad(const Values& x, const Values& gy) const {
    Values gw;
    for (const Part& p : parts)
      for (std::int64_t i = 0; i < in; ++i)
        for (std::int64_t o = 0; o < out; ++o) {
          double sum = 0.0;
          for (std::int64_t r = p.first; r < p.first + p.rows; ++r) sum += at(x, in, r, i) * at(gy, out, r, o);
          gw.push_back(sum);
        }
    return gw;
  }
};

using GemmTest = InBothFormats;

TEST_P(GemmTest, ForwardAndGradientsMatchFloat64) {
  for (const auto& [rows, in, out] : kShapes) {
    SCOPED_TRACE(::testing::Message() << rows << " x " << in << " x " << out);
    const Reference reference{parts_of({rows}), in, out};
    const DeviceMatrix x(GetParam(), rows, in, random_values(1, rows * in));
    const DeviceMatrix w(GetParam(), in, out, random_values(2, in * out));
    const DeviceMatrix y(GetParam(), rows, out);
    expect_ok(backend().gemm(stream(), {x.view(), w.view(), y.view()}));
    expect_close("y", y.values(), reference.forward(x.values(), w.values()), GetParam());

    const DeviceMatrix gy(GetParam(), rows, out, random_values(3, rows * out));
    const DeviceMatrix gx(GetParam(), rows, in);
    expect_ok(backend().gemm_dgrad(stream(), {gy.view(), w.view(), gx.view()}));
    expect_close("gx", gx.values(), reference.dgrad(gy.values(), w.values()), GetParam());

    const DeviceMatrix gw(DType::kFp32, in, out, random_values(4, in * out));
    const Values before = gw.values();
    expect_ok(backend().gemm_wgrad(stream(), {x.view(), gy.view(), gw.view()}));
    expect_close("gw", gw.values(), sum_of(before, reference.wgrad(x.values(), gy.values())), DType::kFp32);
    expect_ok(backend().gemm_wgrad(stream(), {x.view(), gy.view(), gw.view(), GradientSum::kSet}));
    expect_close("gw set", gw.values(), reference.wgrad(x.values(), gy.values()), DType::kFp32);
  }
}

TEST_P(GemmTest, GroupsUseTheirOwnMatrixAndMayBeEmpty) {
  const std::vector<std::vector<std::int64_t>> loads = {{0, 3, 1, 0, 17, 64}, {0, 0}, {5}, {}, {2, 0, 0, 1}};
  constexpr std::int64_t kIn = 19;
  constexpr std::int64_t kOut = 13;
  for (const std::vector<std::int64_t>& group_rows : loads) {
    const Reference reference{parts_of(group_rows), kIn, kOut};
    std::int64_t rows = 0;
    for (const std::int64_t n : group_rows) rows += n;
    const auto groups = static_cast<std::int64_t>(group_rows.size());
    const DeviceMatrix x(GetParam(), rows, kIn, random_values(1, rows * kIn));
    const DeviceMatrix w(GetParam(), groups * kIn, kOut, random_values(2, groups * kIn * kOut));
    const DeviceMatrix y(GetParam(), rows, kOut);
    expect_ok(backend().grouped_gemm(stream(), {x.view(), w.view(), y.view(), group_rows}));
    expect_close("y", y.values(), reference.forward(x.values(), w.values()), GetParam());

    const DeviceMatrix gy(GetParam(), rows, kOut, random_values(3, rows * kOut));
    const DeviceMatrix gx(GetParam(), rows, kIn);
    expect_ok(backend().grouped_gemm_dgrad(stream(), {gy.view(), w.view(), gx.view(), group_rows}));
    expect_close("gx", gx.values(), reference.dgrad(gy.values(), w.values()), GetParam());

    const DeviceMatrix gw(DType::kFp32, groups * kIn, kOut, random_values(4, groups * kIn * kOut));
    const Values before = gw.values();
    expect_ok(backend().grouped_gemm_wgrad(stream(), {x.view(), gy.view(), gw.view(), group_rows}));
    expect_close("gw", gw.values(), sum_of(before, reference.wgrad(x.values(), gy.values())), DType::kFp32);
    expect_ok(backend().grouped_gemm_wgrad(stream(), {x.view(), gy.view(), gw.view(), group_rows, GradientSum::kSet}));
    expect_close("gw set", gw.values(), reference.wgrad(x.values(), gy.values()), DType::kFp32);
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, GemmTest, ::testing::Values(DType::kFp32, DType::kBf16), format_name);

TEST(GemmMixedTest, OperandsMayDifferInFormat) {
  const Reference reference{parts_of({4}), 6, 5};
  const DeviceMatrix x(DType::kBf16, 4, 6, random_values(1, 24));
  const DeviceMatrix w(DType::kFp32, 6, 5, random_values(2, 30));
  const DeviceMatrix y(DType::kFp32, 4, 5);
  expect_ok(backend().gemm(stream(), {x.view(), w.view(), y.view()}));
  expect_close("y", y.values(), reference.forward(x.values(), w.values()), DType::kFp32);
}

TEST(GemmErrorTest, NamesTheOperandAndWritesNothing) {
  const DeviceMatrix x(DType::kFp32, 2, 3, random_values(1, 6));
  const DeviceMatrix w(DType::kFp32, 3, 4, random_values(2, 12));
  const DeviceMatrix y(DType::kFp32, 2, 4);
  const auto gemm = [&](const MatrixView& a, const MatrixView& b, const MatrixView& c) {
    return refusal(backend().gemm(stream(), {a, b, c}));
  };
  MatrixView wrong = x.view();
  wrong.type = DType::kFp16;
  EXPECT_THAT(gemm(wrong, w.view(), y.view()), HasSubstr("x is fp16"));
  EXPECT_THAT(gemm(x.view(), x.view(), y.view()), HasSubstr("w is 2 x 3 and should be 3 x 4"));
  EXPECT_THAT(gemm(x.view(), w.view(), row_range(y.view(), 0, 1)), HasSubstr("y is 1 x 4 and should be 2 x 4"));
  wrong = x.view();
  wrong.row_stride = 2;
  EXPECT_THAT(gemm(wrong, w.view(), y.view()), HasSubstr("only 2 elements from row to row"));
  wrong = x.view();
  wrong.row_stride = std::int64_t{1} << 31;
  EXPECT_THAT(gemm(wrong, w.view(), y.view()), HasSubstr("are possible"));
  wrong = x.view();
  wrong.data = nullptr;
  EXPECT_THAT(gemm(wrong, w.view(), y.view()), HasSubstr("x has no memory"));
  EXPECT_TRUE(y.untouched());

  const DeviceMatrix gw(DType::kBf16, 3, 4);
  const DeviceMatrix gy(DType::kFp32, 2, 4, random_values(3, 8));
  EXPECT_THAT(refusal(backend().gemm_wgrad(stream(), {x.view(), gy.view(), gw.view()})), HasSubstr("gw is bf16"));
  EXPECT_TRUE(gw.untouched());

  const std::int64_t too_few[] = {1};
  const std::int64_t negative[] = {3, -1};
  EXPECT_THAT(refusal(backend().grouped_gemm(stream(), {x.view(), w.view(), y.view(), too_few})), HasSubstr("add up"));
  EXPECT_THAT(refusal(backend().grouped_gemm(stream(), {x.view(), w.view(), y.view(), negative})),
              HasSubstr("negative"));
}

}  // namespace
}  // namespace moesim::kernel_testing
