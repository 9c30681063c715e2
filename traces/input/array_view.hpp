// A dense little-endian array in memory, in C order, as safetensors and numpy files hold it; read as counts or ids.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace moesim {

enum class ElementType : std::uint8_t {
  kInt8,
  kInt16,
  kInt32,
  kInt64,
  kUint8,
  kUint16,
  kUint32,
  kUint64,
  kFloat32,
  kFloat64
};
[[nodiscard]] std::size_t size_of(ElementType type);

struct ArrayView {
  std::string name;
  ElementType type = ElementType::kInt64;
  std::vector<std::uint64_t> shape;
  std::string_view bytes;  // exactly the product of shape and element size

  // Fills `target` from element `first` on. Negative, fractional, NaN and too large values are errors.
  [[nodiscard]] Status read_counts(std::uint64_t first, std::span<std::uint32_t> target) const;
  // The same for expert ids: -1 is allowed.
  [[nodiscard]] Status read_ids(std::uint64_t first, std::span<std::int32_t> target) const;
};

// The product of the shape and the element size, or an error when it is not `bytes`.
[[nodiscard]] Status check_size(const ArrayView& array, const std::string& place);

}  // namespace moesim
