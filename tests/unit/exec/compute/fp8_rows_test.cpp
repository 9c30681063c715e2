// Rows to FP8 with scales and back, bit by bit as exec/compute/fp8.hpp defines the numbers.
#include "exec/compute/fp8.hpp"

#include <gmock/gmock.h>

#include "kernel_testing.hpp"

namespace moesim::kernel_testing {
namespace {

// Codes with a gap behind each row.
class DeviceCodes {
 public:
  DeviceCodes(std::int64_t rows, std::int64_t columns)
      : view_{nullptr, DType::kFp8, rows, columns, columns + kGap}, bytes_(Bytes(rows * (columns + kGap))) {
    view_.data = backend().allocate(bytes_).value();
    const std::vector<std::uint8_t> filled(static_cast<std::size_t>(bytes_.count()), kGapCode);
    expect_ok(backend().copy_in(stream(), view_.data, filled.data(), bytes_));
  }
  DeviceCodes(const DeviceCodes&) = delete;
  DeviceCodes& operator=(const DeviceCodes&) = delete;
  ~DeviceCodes() { backend().free(view_.data); }

  [[nodiscard]] const MatrixView& view() const { return view_; }
  [[nodiscard]] std::vector<int> codes() const {
    std::vector<std::uint8_t> all(static_cast<std::size_t>(bytes_.count()));
    expect_ok(backend().copy_out(stream(), all.data(), view_.data, bytes_));
    std::vector<int> found;
    for (std::int64_t r = 0; r < view_.rows; ++r)
      for (std::int64_t c = 0; c < view_.row_stride; ++c) {
        const std::uint8_t code = all[static_cast<std::size_t>(r * view_.row_stride + c)];
        if (c < view_.columns)
          found.push_back(code);
        else
          EXPECT_EQ(code, kGapCode) << "the gap after row " << r << " was written";
      }
    return found;
  }

 private:
  static constexpr std::int64_t kGap = 5;
  static constexpr std::uint8_t kGapCode = 0x5A;
  MatrixView view_;
  Bytes bytes_;
};

class Fp8RowsTest : public InBothFormats {};

TEST_P(Fp8RowsTest, EachScaleIsThatOfItsColumns) {
  for (const std::int64_t columns : {1, 31, 127, 128, 129, 300}) {
    constexpr std::int64_t kRows = 7;
    Values values = random_values(static_cast<std::uint64_t>(columns), kRows * columns);
    for (std::int64_t c = 0; c < columns; ++c) {
      values[static_cast<std::size_t>(c)] *= 1e-6;                // a row of small numbers
      values[static_cast<std::size_t>(columns + c)] = 0;          // of zeros
      values[static_cast<std::size_t>(2 * columns + c)] = 1e-40;  // too small for a scale of their own
      values[static_cast<std::size_t>(3 * columns + c)] *= 1e20;
    }
    const DeviceMatrix x(GetParam(), kRows, columns, values);
    const DeviceMatrix scales(DType::kFp32, kRows, scales_of_row(columns)), y(GetParam(), kRows, columns);
    const DeviceCodes codes(kRows, columns);
    expect_ok(backend().to_fp8(stream(), {x.view(), codes.view(), scales.view()}));
    expect_ok(backend().from_fp8(stream(), {codes.view(), scales.view(), y.view()}));
    const Values stored = x.values();
    std::vector<int> expected_codes;
    Values expected_scales, expected;
    for (std::int64_t r = 0; r < kRows; ++r)
      for (std::int64_t first = 0; first < columns; first += kScaledColumns) {
        const std::int64_t end = std::min(first + kScaledColumns, columns);
        float most = 0;
        const auto at = [&](std::int64_t c) {
          return static_cast<float>(stored[static_cast<std::size_t>(r * columns + c)]);
        };
        for (std::int64_t c = first; c < end; ++c) most = std::max(most, std::abs(at(c)));
        const float scale = most / 448.0F < std::numeric_limits<float>::min() ? 1.0F : most / 448.0F;
        expected_scales.push_back(static_cast<double>(scale));
        for (std::int64_t c = first; c < end; ++c) {
          expected_codes.push_back(float_to_fp8(at(c) / scale));
          const float back = fp8_to_float(static_cast<std::uint8_t>(expected_codes.back())) * scale;
          expected.push_back(
              static_cast<double>(GetParam() == DType::kBf16 ? bf16_to_float(float_to_bf16(back)) : back));
          // Half a unit of three bits of fraction, or of the smallest number.
          EXPECT_LE(std::abs(back - at(c)), std::max(std::abs(at(c)) / 16 * 1.0001F, scale / 1024 * 1.0001F));
        }
      }
    EXPECT_EQ(codes.codes(), expected_codes) << columns;
    EXPECT_EQ(scales.values(), expected_scales) << columns;
    EXPECT_EQ(y.values(), expected) << columns;
    EXPECT_EQ(scales.values()[static_cast<std::size_t>(scales_of_row(columns))], 1);
    for (std::int64_t c = 0; c < columns; ++c) EXPECT_EQ(y.values()[static_cast<std::size_t>(columns + c)], 0);
  }
}

// The example of ToFp8Args: 448, 224 and the nearest of 64 and 72 to 67.2.
TEST_P(Fp8RowsTest, ARowByHand) {
  const DeviceMatrix x(GetParam(), 1, 3, {1, -2, 0.30078125});  // which BF16 holds
  const DeviceMatrix scales(DType::kFp32, 1, 1), y(DType::kFp32, 1, 3);
  const DeviceCodes codes(1, 3);
  expect_ok(backend().to_fp8(stream(), {x.view(), codes.view(), scales.view()}));
  expect_ok(backend().from_fp8(stream(), {codes.view(), scales.view(), y.view()}));
  EXPECT_EQ(codes.codes(), (std::vector<int>{0x76, 0xFE, 0x68}));  // 2^7 * 1.75, -2^8 * 1.75, 2^6
  EXPECT_EQ(y.values()[0], 1);
  EXPECT_EQ(y.values()[1], -2);
  EXPECT_NEAR(y.values()[2], 64 * 2.0 / 448, 1e-7);
}

TEST_P(Fp8RowsTest, NotANumberStaysOneAndSpoilsNoOther) {
  const DeviceMatrix x(GetParam(), 1, 3, {1, std::numeric_limits<double>::quiet_NaN(), -1});
  const DeviceMatrix scales(DType::kFp32, 1, 1), y(GetParam(), 1, 3);
  const DeviceCodes codes(1, 3);
  expect_ok(backend().to_fp8(stream(), {x.view(), codes.view(), scales.view()}));
  expect_ok(backend().from_fp8(stream(), {codes.view(), scales.view(), y.view()}));
  EXPECT_EQ(y.values()[0], 1);
  EXPECT_TRUE(std::isnan(y.values()[1]));
  EXPECT_EQ(y.values()[2], -1);
}

INSTANTIATE_TEST_SUITE_P(Formats, Fp8RowsTest, ::testing::Values(DType::kFp32, DType::kBf16), format_name);

TEST(Fp8RowsErrorTest, RefusesWhatDoesNotFit) {
  const DeviceMatrix x(DType::kFp32, 2, 129, random_values(1, 258)), scales(DType::kFp32, 2, 1),
      y(DType::kFp32, 2, 129);
  const DeviceCodes codes(2, 129);
  EXPECT_THAT(refusal(backend().to_fp8(stream(), {x.view(), codes.view(), scales.view()})),
              ::testing::HasSubstr("scales is 2 x 1 and should be 2 x 2"));
  EXPECT_THAT(refusal(backend().to_fp8(stream(), {x.view(), y.view(), scales.view()})),
              ::testing::HasSubstr("y is fp32 and should be fp8"));
  EXPECT_THAT(refusal(backend().from_fp8(stream(), {codes.view(), scales.view(), y.view()})),
              ::testing::HasSubstr("scales is 2 x 1 and should be 2 x 2"));
  EXPECT_TRUE(y.untouched());
}

}  // namespace
}  // namespace moesim::kernel_testing
