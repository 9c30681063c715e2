#include "exec/compute/cpu/fp32_access.hpp"

#include <algorithm>

#include "exec/compute/bf16.hpp"

namespace moesim {
namespace {

std::uint16_t* bf16_row(const MatrixView& view, std::int64_t row) {
  return static_cast<std::uint16_t*>(view.data) + row * view.row_stride;
}

void widen(const std::uint16_t* from, std::int64_t count, float* to) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = bf16_to_float(from[i]);
}

void narrow(const float* from, std::int64_t count, std::uint16_t* to) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = float_to_bf16(from[i]);
}

// Not zeroed: it is written before it is read.
std::unique_ptr<float[]> room_for(const MatrixView& view) {
  if (view.type == DType::kFp32) return nullptr;
  return std::make_unique_for_overwrite<float[]>(static_cast<std::size_t>(view.rows * view.columns));
}

}  // namespace

RowReader::RowReader(const MatrixView& view)
    : view_(view), buffer_(view.type == DType::kFp32 ? 0 : static_cast<std::size_t>(view.columns)) {}

const float* RowReader::operator()(std::int64_t row) {
  if (view_.type == DType::kFp32) return fp32_row(view_, row);
  widen(bf16_row(view_, row), view_.columns, buffer_.data());
  return buffer_.data();
}

RowWriter::RowWriter(const MatrixView& view)
    : view_(view), buffer_(view.type == DType::kFp32 ? 0 : static_cast<std::size_t>(view.columns)) {}

float* RowWriter::begin(std::int64_t row) {
  row_ = row;
  return view_.type == DType::kFp32 ? fp32_row(view_, row) : buffer_.data();
}

void RowWriter::commit() {
  if (view_.type != DType::kFp32) narrow(buffer_.data(), view_.columns, bf16_row(view_, row_));
}

Fp32Input::Fp32Input(const MatrixView& view)
    : copy_(room_for(view)),
      data_(copy_ ? copy_.get() : static_cast<const float*>(view.data)),
      stride_(copy_ ? view.columns : view.row_stride) {
  if (!copy_) return;
  for (std::int64_t r = 0; r < view.rows; ++r) widen(bf16_row(view, r), view.columns, copy_.get() + r * stride_);
}

Fp32Output::Fp32Output(const MatrixView& view)
    : view_(view),
      copy_(room_for(view)),
      data_(copy_ ? copy_.get() : static_cast<float*>(view.data)),
      stride_(copy_ ? view.columns : view.row_stride) {}

void Fp32Output::fill_zero() {
  for (std::int64_t r = 0; r < view_.rows; ++r) std::fill_n(row(r), view_.columns, 0.0F);
}

void Fp32Output::store() {
  if (!copy_) return;
  for (std::int64_t r = 0; r < view_.rows; ++r) narrow(row(r), view_.columns, bf16_row(view_, r));
}

}  // namespace moesim
