// Operands of kernels: matrices and index lists in the memory of a device. A view owns nothing.
//
// Row-major; element (r, c) stands at data + r * row_stride + c, counted in elements. FP32 and BF16 are computed with; every
// kernel refuses other types. Slices of columns are views too: the queries of fused [q | k | v] columns are
// column_range(qkv, 0, heads * head_dim).
#pragma once

#include <cstddef>
#include <cstdint>

#include "models/precision.hpp"

namespace moesim {

struct MatrixView {
  void* data = nullptr;
  DType type = DType::kFp32;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t row_stride = 0;  // elements from one row to the next, at least `columns`
};

// Positions, token ids, labels: one number per row of some matrix.
struct IndexView {
  const std::int32_t* data = nullptr;
  std::int64_t count = 0;
};

[[nodiscard]] constexpr MatrixView dense_view(void* data, DType type, std::int64_t rows, std::int64_t columns) {
  return {data, type, rows, columns, columns};
}

namespace detail {
// Types of whole bytes only, which is all that kernels accept.
[[nodiscard]] inline void* element_address(const MatrixView& view, std::int64_t row, std::int64_t column) {
  if (view.data == nullptr) return nullptr;
  return static_cast<std::byte*>(view.data) + (row * view.row_stride + column) * half_bytes_per_element(view.type) / 2;
}
}  // namespace detail

[[nodiscard]] inline MatrixView column_range(const MatrixView& view, std::int64_t first, std::int64_t count) {
  return {detail::element_address(view, 0, first), view.type, view.rows, count, view.row_stride};
}
[[nodiscard]] inline MatrixView row_range(const MatrixView& view, std::int64_t first, std::int64_t count) {
  return {detail::element_address(view, first, 0), view.type, count, view.columns, view.row_stride};
}

}  // namespace moesim
