#include "traces/input/numpy.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/text.hpp"
#include "traces/input/number_parser.hpp"

namespace moesim {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr std::size_t kLargestHeader = 1 << 16;

std::uint64_t little_endian(std::string_view bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

// The text after "'key':" in the header's Python dictionary.
std::string_view value_of(std::string_view header, std::string_view key) {
  const std::size_t at = header.find(fmt::format("'{}':", key));
  return at == std::string_view::npos ? std::string_view() : trim(header.substr(at + key.size() + 3));
}

Result<ElementType> parse_type(std::string_view descr, const std::string& place) {
  constexpr std::array<std::pair<std::string_view, ElementType>, 10> kTypes = {{{"i1", ElementType::kInt8},
                                                                                {"i2", ElementType::kInt16},
                                                                                {"i4", ElementType::kInt32},
                                                                                {"i8", ElementType::kInt64},
                                                                                {"u1", ElementType::kUint8},
                                                                                {"u2", ElementType::kUint16},
                                                                                {"u4", ElementType::kUint32},
                                                                                {"u8", ElementType::kUint64},
                                                                                {"f4", ElementType::kFloat32},
                                                                                {"f8", ElementType::kFloat64}}};
  if (descr.starts_with('\'')) {
    const std::string_view code = descr.substr(1, descr.find('\'', 1) - 1);
    if (code.starts_with('>')) return invalid_input("array is big-endian", place, "save it with .astype('<i4')");
    if (code.find('O') != std::string_view::npos)
      return invalid_input("array holds Python objects (a pickle), which are never loaded", place,
                           "save plain integer arrays");
    for (const auto& [name, type] : kTypes)
      if (code.size() == 3 && code.substr(1) == name) return type;
  }
  return invalid_input(fmt::format("array type {} cannot hold counts", descr.substr(0, descr.find(','))), place,
                       "save it with .astype('int32')");
}

Result<std::vector<std::uint64_t>> parse_shape(std::string_view text, const std::string& place) {
  std::vector<std::uint64_t> shape;
  const std::size_t close = text.find(')');
  if (!text.starts_with('(') || close == std::string_view::npos)
    return invalid_input("array header has no shape", place);
  for (const std::string_view part : split(text.substr(1, close - 1), ',')) {
    if (trim(part).empty()) continue;
    std::uint64_t n = 0;
    if (!parse_integer<std::uint64_t>(trim(part), 0, UINT64_MAX, n))
      return invalid_input("broken shape in array header", place);
    shape.push_back(n);
  }
  return shape;
}

}  // namespace

bool looks_like_npy(std::string_view head) { return head.starts_with(kMagic); }

bool looks_like_npz(std::string_view head) {
  if (!head.starts_with("PK\x03\x04") || head.size() < 30) return false;
  const std::size_t length = little_endian(head.substr(26, 2));
  return head.substr(30, length).ends_with(".npy");
}

Result<ArrayView> parse_npy(std::string_view content, std::string array_name, const std::string& place) {
  if (!looks_like_npy(content) || content.size() < 12)
    return invalid_input("not a numpy array", place, "is it complete?");
  const int version = static_cast<unsigned char>(content[6]);
  if (version < 1 || version > 3) return invalid_input(fmt::format("numpy format {} is not known", version), place);
  const std::size_t length_bytes = version == 1 ? 2 : 4;
  const std::uint64_t length = little_endian(content.substr(8, length_bytes));
  const std::size_t start = 8 + length_bytes;
  if (length > kLargestHeader || length > content.size() - start)
    return invalid_input("broken header of a numpy array", place, "is the file complete?");
  const std::string_view header = content.substr(start, static_cast<std::size_t>(length));
  ArrayView array;
  array.name = std::move(array_name);
  MOESIM_ASSIGN(array.type, parse_type(value_of(header, "descr"), place));
  MOESIM_ASSIGN(array.shape, parse_shape(value_of(header, "shape"), place));
  if (value_of(header, "fortran_order").starts_with("True") && array.shape.size() > 1)
    return invalid_input("array is in Fortran order", place, "save numpy.ascontiguousarray(x)");
  array.bytes = content.substr(start + static_cast<std::size_t>(length));
  MOESIM_TRY(check_size(array, place));
  return array;
}

}  // namespace moesim
