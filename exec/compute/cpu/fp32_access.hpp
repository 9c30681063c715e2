// Operands as FP32, whatever they are stored as: row by row for kernels that pass over memory once, whole for matrix
// products. FP32 memory is used in place, BF16 through a copy.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "exec/compute/matrix_view.hpp"

namespace moesim {

// Row `row` of an FP32 matrix.
[[nodiscard]] inline float* fp32_row(const MatrixView& view, std::int64_t row) {
  return static_cast<float*>(view.data) + row * view.row_stride;
}

// A pointer that one call returns holds until the next call of the same reader.
class RowReader {
 public:
  explicit RowReader(const MatrixView& view);
  [[nodiscard]] const float* operator()(std::int64_t row);

 private:
  MatrixView view_;
  std::vector<float> buffer_;
};

// begin() gives room for a row, of unknown content; commit() stores what was written there.
class RowWriter {
 public:
  explicit RowWriter(const MatrixView& view);
  [[nodiscard]] float* begin(std::int64_t row);
  void commit();

 private:
  MatrixView view_;
  std::int64_t row_ = 0;
  std::vector<float> buffer_;
};

class Fp32Input {
 public:
  explicit Fp32Input(const MatrixView& view);
  [[nodiscard]] const float* row(std::int64_t row) const { return data_ + row * stride_; }
  [[nodiscard]] std::int64_t stride() const { return stride_; }

 private:
  std::unique_ptr<float[]> copy_;
  const float* data_;
  std::int64_t stride_;
};

// Of unknown content until written; store() puts it where the view says.
class Fp32Output {
 public:
  explicit Fp32Output(const MatrixView& view);
  [[nodiscard]] float* row(std::int64_t row) const { return data_ + row * stride_; }
  [[nodiscard]] std::int64_t stride() const { return stride_; }
  void fill_zero();
  void store();

 private:
  MatrixView view_;
  std::unique_ptr<float[]> copy_;
  float* data_;
  std::int64_t stride_;
};

}  // namespace moesim
