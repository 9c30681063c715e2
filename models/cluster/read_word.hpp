// A key whose value is one of a few words.
#pragma once

#include <fmt/format.h>

#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json_reader.hpp"
#include "base/text.hpp"

namespace moesim {

template <class Enum, std::size_t N>
[[nodiscard]] Result<Enum> read_word(JsonReader& reader, std::string_view key,
                                     const std::array<std::pair<const char*, Enum>, N>& words) {
  MOESIM_ASSIGN(const std::string word, reader.required_string(key));
  std::vector<std::string> names;
  for (const auto& [name, value] : words) {
    if (to_lower(word) == name) return value;
    names.emplace_back(name);
  }
  return reader.error_at(key, fmt::format("unknown {} '{}'{}", key, word, did_you_mean(word, names)),
                         fmt::format("one of {}", fmt::join(names, ", ")));
}

}  // namespace moesim
