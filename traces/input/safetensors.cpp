#include "traces/input/safetensors.hpp"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "base/json_reader.hpp"

namespace moesim {
namespace {

constexpr std::size_t kLengthBytes = 8;

Result<ElementType> parse_type(const JsonReader& tensor, const std::string& type) {
  constexpr std::array<std::pair<std::string_view, ElementType>, 10> kTypes = {{{"I8", ElementType::kInt8},
                                                                                {"I16", ElementType::kInt16},
                                                                                {"I32", ElementType::kInt32},
                                                                                {"I64", ElementType::kInt64},
                                                                                {"U8", ElementType::kUint8},
                                                                                {"U16", ElementType::kUint16},
                                                                                {"U32", ElementType::kUint32},
                                                                                {"U64", ElementType::kUint64},
                                                                                {"F32", ElementType::kFloat32},
                                                                                {"F64", ElementType::kFloat64}}};
  for (const auto& [name, value] : kTypes)
    if (name == type) return value;
  return tensor.error(fmt::format("type '{}' cannot hold counts", type.substr(0, 20)), "write it as I64");
}

Result<ArrayView> parse_tensor(JsonReader tensor, const std::string& name, std::string_view data) {
  ArrayView array;
  array.name = name;
  MOESIM_ASSIGN(const std::string type, tensor.required_string("dtype"));
  MOESIM_ASSIGN(array.type, parse_type(tensor, type));
  MOESIM_ASSIGN(const JsonReader shape, tensor.required("shape"));
  MOESIM_ASSIGN(const std::vector<JsonReader> sizes, shape.elements());
  for (const JsonReader& size : sizes) {
    MOESIM_ASSIGN(const std::int64_t n, size.as_int(0, INT64_MAX));
    array.shape.push_back(static_cast<std::uint64_t>(n));
  }
  MOESIM_ASSIGN(const JsonReader offsets, tensor.required("data_offsets"));
  MOESIM_ASSIGN(const std::vector<JsonReader> ends, offsets.elements());
  if (ends.size() != 2) return offsets.error("expected [begin, end]");
  const auto size = static_cast<std::int64_t>(data.size());
  MOESIM_ASSIGN(const std::int64_t begin, ends[0].as_int(0, size));
  MOESIM_ASSIGN(const std::int64_t end, ends[1].as_int(begin, size));
  array.bytes = data.substr(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
  MOESIM_TRY(check_size(array, tensor.place()));
  return array;
}

}  // namespace

Result<std::vector<ArrayView>> parse_safetensors(std::string_view content, const std::string& name) {
  if (content.size() < kLengthBytes) return invalid_input("too short for a safetensors file", name, "is it complete?");
  std::uint64_t length = 0;
  for (std::size_t i = kLengthBytes; i-- > 0;) length = length << 8 | static_cast<unsigned char>(content[i]);
  if (length > content.size() - kLengthBytes)
    return invalid_input(fmt::format("safetensors header of {} bytes does not fit the file", length), name,
                         "is the file complete?");
  MOESIM_ASSIGN(const JsonDocument header,
                JsonDocument::parse_text(content.substr(kLengthBytes, static_cast<std::size_t>(length)), name));
  const std::string_view data = content.substr(kLengthBytes + static_cast<std::size_t>(length));
  JsonReader root = header.root();
  if (!root.is_object()) return root.error("safetensors header is not an object");
  std::vector<ArrayView> arrays;
  for (const std::string& key : root.keys()) {
    if (key == "__metadata__") continue;
    MOESIM_ASSIGN(const JsonReader tensor, root.required(key));
    MOESIM_ASSIGN(ArrayView array, parse_tensor(tensor, key, data));
    arrays.push_back(std::move(array));
  }
  return arrays;
}

}  // namespace moesim
