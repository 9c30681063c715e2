#include "traces/input/array_view.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <cstring>

namespace moesim {
namespace {

template <class T>
T load(const char* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}

// One element as a double: exact for all values that can be counts or ids (below 2^53).
double element(ElementType type, const char* bytes) {
  switch (type) {
    case ElementType::kInt8: return load<std::int8_t>(bytes);
    case ElementType::kInt16: return load<std::int16_t>(bytes);
    case ElementType::kInt32: return load<std::int32_t>(bytes);
    case ElementType::kInt64: return static_cast<double>(load<std::int64_t>(bytes));
    case ElementType::kUint8: return load<std::uint8_t>(bytes);
    case ElementType::kUint16: return load<std::uint16_t>(bytes);
    case ElementType::kUint32: return load<std::uint32_t>(bytes);
    case ElementType::kUint64: return static_cast<double>(load<std::uint64_t>(bytes));
    case ElementType::kFloat32: return static_cast<double>(load<float>(bytes));
    case ElementType::kFloat64: return load<double>(bytes);
  }
  MOESIM_ASSERT(false);
}

template <class T>
Status read_elements(const ArrayView& array, std::uint64_t first, std::span<T> target, double smallest,
                     double largest) {
  const std::size_t size = size_of(array.type);
  MOESIM_ASSERT((first + target.size()) * size <= array.bytes.size());
  const char* p = array.bytes.data() + first * size;
  for (std::size_t i = 0; i < target.size(); ++i, p += size) {
    const double value = element(array.type, p);
    if (!(value >= smallest && value <= largest) || value != std::floor(value))
      return invalid_input(fmt::format("array '{}', element {}: {} is not a whole number from {} to {}", array.name,
                                       first + i, value, smallest, largest));
    target[i] = static_cast<T>(value);
  }
  return {};
}

}  // namespace

std::size_t size_of(ElementType type) {
  switch (type) {
    case ElementType::kInt8:
    case ElementType::kUint8: return 1;
    case ElementType::kInt16:
    case ElementType::kUint16: return 2;
    case ElementType::kInt32:
    case ElementType::kUint32:
    case ElementType::kFloat32: return 4;
    case ElementType::kInt64:
    case ElementType::kUint64:
    case ElementType::kFloat64: return 8;
  }
  MOESIM_ASSERT(false);
}

Status ArrayView::read_counts(std::uint64_t first, std::span<std::uint32_t> target) const {
  return read_elements(*this, first, target, 0, UINT32_MAX);
}

Status ArrayView::read_ids(std::uint64_t first, std::span<std::int32_t> target) const {
  return read_elements(*this, first, target, -1, INT32_MAX);
}

Status check_size(const ArrayView& array, const std::string& place) {
  std::uint64_t size = size_of(array.type);
  for (const std::uint64_t n : array.shape) {
    if (n != 0 && size > array.bytes.size() / n) {
      size = UINT64_MAX;
      break;
    }
    size *= n;
  }
  if (size == array.bytes.size()) return {};
  return invalid_input(fmt::format("array '{}' of shape [{}] does not fit its {} bytes", array.name,
                                   fmt::join(array.shape, ", "), array.bytes.size()),
                       place, "is the file complete?");
}

}  // namespace moesim
