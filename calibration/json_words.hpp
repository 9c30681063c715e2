// Words and number formats in our JSON files, with errors that name the place and the closest spelling.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/json_reader.hpp"
#include "base/text.hpp"
#include "models/precision.hpp"

namespace moesim {

// One of the first `count` values of an enumeration, by the name that `name_of` gives it.
template <class Enum>
[[nodiscard]] Result<Enum> read_name(JsonReader& reader, std::string_view key, int count,
                                     std::string_view (*name_of)(Enum)) {
  MOESIM_ASSIGN(const std::string word, reader.required_string(key));
  std::vector<std::string> known;
  for (int i = 0; i < count; ++i) {
    if (word == name_of(static_cast<Enum>(i))) return static_cast<Enum>(i);
    known.emplace_back(name_of(static_cast<Enum>(i)));
  }
  return invalid_input(fmt::format("'{}' is none of {}{}", word, fmt::join(known, ", "), did_you_mean(word, known)),
                       fmt::format("{}/{}", reader.place(), key));
}

[[nodiscard]] inline Result<DType> read_type(JsonReader& reader, std::string_view key) {
  MOESIM_ASSIGN(const std::string name, reader.required_string(key));
  Result<DType> type = parse_dtype(name);
  if (!type) return invalid_input(type.error().what, fmt::format("{}/{}", reader.place(), key), type.error().hint);
  return type;
}

}  // namespace moesim
