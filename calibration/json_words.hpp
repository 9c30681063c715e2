// Words and number formats in our JSON files, with errors that name the place and the closest spelling.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/json_reader.hpp"
#include "base/text.hpp"
#include "models/cost/collective.hpp"
#include "models/cost/exchange/algorithm.hpp"
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

// The algorithm of an all-to-all under "exchange"; linear where it says nothing.
[[nodiscard]] inline Result<ExchangeAlgorithm> read_exchange(JsonReader& reader, CollectiveKind kind) {
  MOESIM_ASSIGN(const std::string name, reader.string_or("exchange", "linear"));
  const std::string place = fmt::format("{}/exchange", reader.place());
  Result<ExchangeAlgorithm> exchange = find_exchange_algorithm(name);
  if (!exchange) return invalid_input(exchange.error().what, place, exchange.error().hint);
  if (*exchange != ExchangeAlgorithm::kLinear && kind != CollectiveKind::kAllToAll)
    return invalid_input("only an all_to_all has an algorithm of exchange", place, "leave \"exchange\" out");
  return exchange;
}

}  // namespace moesim
