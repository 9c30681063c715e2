// Matrices in a backend's memory for kernel tests, random values, and float64 references.
//
// Rows are followed by a gap that holds a known NaN: a kernel that reads the gap spoils its result, one that writes it is
// caught when the values are read back. Outputs start as NaN altogether.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "exec/compute/bf16.hpp"
#include "exec/compute/compute_backend.hpp"
#include "traces/random.hpp"

namespace moesim::kernel_testing {

using Values = std::vector<double>;

// The backend under test; each program of these tests has one.
[[nodiscard]] ComputeBackend& backend();
// What attention's gradients may be off by in BF16, of their largest value: a backend that works out sum(gO * O) from the stored
// O has it with O's rounding, and subtracts it from numbers of its size.
[[nodiscard]] double error_of_stored_output();
inline DeviceStream stream() {
  static const DeviceStream instance = backend().create_stream().value();
  return instance;
}

inline void expect_ok(const Status& status) { EXPECT_TRUE(status.has_value()) << status.error().what; }

// The error of a kernel that has to refuse its operands.
inline std::string refusal(const Status& status) { return status.has_value() ? "accepted" : status.error().what; }

inline Values random_values(std::uint64_t seed, std::int64_t count, double scale = 1.0) {
  Pcg32 random(seed);
  Values values(static_cast<std::size_t>(count));
  for (double& v : values) v = scale * random.near_normal();
  return values;
}

class DeviceMatrix {
 public:
  // A poisoned output.
  DeviceMatrix(DType type, std::int64_t rows, std::int64_t columns)
      : DeviceMatrix(type, rows, columns, Values(static_cast<std::size_t>(rows * columns), kPoison)) {}

  DeviceMatrix(DType type, std::int64_t rows, std::int64_t columns, const Values& values)
      : view_{nullptr, type, rows, columns, columns + kGap} {
    view_.data = backend().allocate(bytes()).value();
    std::vector<std::uint32_t> words(static_cast<std::size_t>(rows * view_.row_stride), kGapBits);
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t c = 0; c < columns; ++c)
        words[static_cast<std::size_t>(r * view_.row_stride + c)] =
            std::bit_cast<std::uint32_t>(static_cast<float>(values[static_cast<std::size_t>(r * columns + c)]));
    store(words);
  }
  DeviceMatrix(const DeviceMatrix&) = delete;
  DeviceMatrix& operator=(const DeviceMatrix&) = delete;
  ~DeviceMatrix() { backend().free(view_.data); }

  [[nodiscard]] const MatrixView& view() const { return view_; }
  // As stored, so already rounded to the type.
  [[nodiscard]] Values values() const {
    const std::vector<std::uint32_t> words = load();
    Values result;
    for (std::int64_t r = 0; r < view_.rows; ++r)
      for (std::int64_t c = 0; c < view_.row_stride; ++c) {
        const std::uint32_t word = words[static_cast<std::size_t>(r * view_.row_stride + c)];
        if (c < view_.columns)
          result.push_back(static_cast<double>(std::bit_cast<float>(word)));
        else
          EXPECT_EQ(word, kGapBits) << "the gap after row " << r << " was written";
      }
    return result;
  }
  [[nodiscard]] bool untouched() const {
    const Values v = values();
    return std::all_of(v.begin(), v.end(), [](double x) { return std::isnan(x); });
  }

 private:
  static constexpr std::int64_t kGap = 3;
  static constexpr std::uint32_t kGapBits = 0x7FCB0000U;  // a NaN that BF16 holds too
  static constexpr double kPoison = std::numeric_limits<double>::quiet_NaN();

  [[nodiscard]] Bytes bytes() const { return storage(view_.rows * view_.row_stride, view_.type); }

  void store(const std::vector<std::uint32_t>& words) {
    if (view_.type == DType::kFp32) return expect_ok(backend().copy_in(stream(), view_.data, words.data(), bytes()));
    std::vector<std::uint16_t> halves;
    for (const std::uint32_t word : words) halves.push_back(float_to_bf16(std::bit_cast<float>(word)));
    expect_ok(backend().copy_in(stream(), view_.data, halves.data(), bytes()));
  }

  [[nodiscard]] std::vector<std::uint32_t> load() const {
    std::vector<std::uint32_t> words(static_cast<std::size_t>(view_.rows * view_.row_stride));
    if (view_.type == DType::kFp32) {
      expect_ok(backend().copy_out(stream(), words.data(), view_.data, bytes()));
      return words;
    }
    std::vector<std::uint16_t> halves(words.size());
    expect_ok(backend().copy_out(stream(), halves.data(), view_.data, bytes()));
    std::transform(halves.begin(), halves.end(), words.begin(), [](std::uint16_t h) { return std::uint32_t{h} << 16; });
    return words;
  }

  MatrixView view_;
};

// Numbers for an IndexView, or room for a kernel to write some.
class DeviceIndices {
 public:
  explicit DeviceIndices(const std::vector<std::int32_t>& values) : count_(static_cast<std::int64_t>(values.size())) {
    data_ = static_cast<std::int32_t*>(backend().allocate(storage(count_, DType::kInt32)).value());
    expect_ok(backend().copy_in(stream(), data_, values.data(), storage(count_, DType::kInt32)));
  }
  DeviceIndices(const DeviceIndices&) = delete;
  DeviceIndices& operator=(const DeviceIndices&) = delete;
  ~DeviceIndices() { backend().free(data_); }
  [[nodiscard]] IndexView view() const { return {data_, count_}; }
  [[nodiscard]] std::int32_t* data() const { return data_; }
  [[nodiscard]] std::vector<std::int32_t> values() const {
    std::vector<std::int32_t> result(static_cast<std::size_t>(count_));
    expect_ok(backend().copy_out(stream(), result.data(), data_, storage(count_, DType::kInt32)));
    return result;
  }

 private:
  std::int32_t* data_ = nullptr;
  std::int64_t count_;
};

// Sums stay in FP32, so an FP32 result is off by `of_scale` of the largest value at most; BF16 adds the rounding of the
// result, half of 2^-8 of each value (twice that is allowed).
inline void expect_close(const std::string& what, const Values& actual, const Values& expected, DType type,
                         double of_scale = 1e-5) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  double largest = 0.0;
  for (const double e : expected) largest = std::max(largest, std::abs(e));
  const double relative = type == DType::kBf16 ? 1.0 / 256 : 1e-6;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const bool close = std::abs(actual[i] - expected[i]) <= relative * std::abs(expected[i]) + of_scale * largest;
    ASSERT_TRUE(close) << what << " [" << i << "] is " << actual[i] << ", expected " << expected[i];
  }
}

// d (sum of gy * f(x)) / dx by central differences. In float64 with steps of 1e-5 good to about 1e-9.
inline Values numeric_gradient(const std::function<Values(const Values&)>& f, const Values& x, const Values& gy) {
  const auto loss = [&](const Values& at) {
    const Values y = f(at);
    double sum = 0.0;
    for (std::size_t i = 0; i < y.size(); ++i) sum += gy[i] * y[i];
    return sum;
  };
  Values gradient;
  Values at = x;
  constexpr double kStep = 1e-5;
  for (std::size_t i = 0; i < x.size(); ++i) {
    at[i] = x[i] + kStep;
    const double above = loss(at);
    at[i] = x[i] - kStep;
    const double below = loss(at);
    at[i] = x[i];
    gradient.push_back((above - below) / (2 * kStep));
  }
  return gradient;
}

inline Values sum_of(const Values& a, const Values& b) {
  Values result = a;
  for (std::size_t i = 0; i < b.size(); ++i) result[i] += b[i];
  return result;
}

inline std::string format_name(const ::testing::TestParamInfo<DType>& info) {
  return std::string(dtype_name(info.param));
}

// Tests that run with FP32 and with BF16 operands.
class InBothFormats : public ::testing::TestWithParam<DType> {};

}  // namespace moesim::kernel_testing
