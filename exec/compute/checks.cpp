#include "exec/compute/checks.hpp"

#include <fmt/format.h>

#include <limits>
#include <utility>

namespace moesim {

void Checks::fault(std::string text) {
  if (fault_.empty()) fault_ = std::move(text);
}

void Checks::shape(std::string_view name, const MatrixView& m, std::int64_t rows, std::int64_t columns) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();  // what BLAS counts with
  if (m.rows != rows || m.columns != columns)
    fault(fmt::format("{} is {} x {} and should be {} x {}", name, m.rows, m.columns, rows, columns));
  else if (m.rows < 0 || m.columns < 0 || m.rows > kMost || m.row_stride > kMost)
    fault(
        fmt::format("{} has {} rows of {} elements; between 0 and {} are possible", name, m.rows, m.row_stride, kMost));
  else if (m.row_stride < m.columns)
    fault(fmt::format("{} has {} columns but only {} elements from row to row", name, m.columns, m.row_stride));
  else if (m.data == nullptr && m.rows > 0 && m.columns > 0)
    fault(fmt::format("{} has no memory", name));
}

Checks& Checks::matrix(std::string_view name, const std::optional<MatrixView>& view, std::int64_t rows,
                       std::int64_t columns) {
  if (!view.has_value()) return *this;
  if (view->type != DType::kFp32 && view->type != DType::kBf16)
    fault(fmt::format("{} is {}; kernels compute with fp32 and bf16 only", name, dtype_name(view->type)));
  shape(name, *view, rows, columns);
  return *this;
}

Checks& Checks::fp8(std::string_view name, const MatrixView& view, std::int64_t rows, std::int64_t columns) {
  if (view.type != DType::kFp8) fault(fmt::format("{} is {} and should be fp8", name, dtype_name(view.type)));
  shape(name, view, rows, columns);
  return *this;
}

Checks& Checks::fp32(std::string_view name, const std::optional<MatrixView>& view, std::int64_t rows,
                     std::int64_t columns) {
  if (view.has_value() && view->type != DType::kFp32)
    fault(fmt::format("{} is {} and should be fp32", name, dtype_name(view->type)));
  return matrix(name, view, rows, columns);
}

Checks& Checks::index(std::string_view name, const IndexView& view, std::int64_t count) {
  if (view.count != count) fault(fmt::format("{} has {} entries and should have {}", name, view.count, count));
  if (view.data == nullptr && count > 0) fault(fmt::format("{} has no memory", name));
  return *this;
}

Checks& Checks::same_type(std::string_view name, const MatrixView& view, const MatrixView& other) {
  if (view.type != other.type)
    fault(fmt::format("{} is {} and should be {}", name, dtype_name(view.type), dtype_name(other.type)));
  return *this;
}

Checks& Checks::holds(bool condition, std::string_view message) {
  if (!condition) fault(std::string(message));
  return *this;
}

Status Checks::status() const {
  if (fault_.empty()) return {};
  return fail(ErrorKind::kInternal, fmt::format("kernel {}: {}", kernel_, fault_));
}

}  // namespace moesim
