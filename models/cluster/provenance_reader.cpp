#include "models/cluster/provenance_reader.hpp"

#include <fmt/format.h>

#include <array>
#include <string>
#include <vector>

#include "base/text.hpp"

namespace moesim {

Result<Origin> read_origin(JsonReader& reader, std::string_view key, Origin fallback) {
  constexpr std::array<Origin, 5> kAll = {Origin::kDatasheet, Origin::kMeasured, Origin::kFitted, Origin::kEstimated,
                                          Origin::kUser};
  if (!reader.optional(key)) return fallback;
  MOESIM_ASSIGN(const std::string word, reader.required_string(key));
  std::vector<std::string> names;
  for (const Origin origin : kAll) {
    if (word == origin_name(origin)) return origin;
    names.emplace_back(origin_name(origin));
  }
  return reader.error_at(key, fmt::format("unknown origin '{}'{}", word, did_you_mean(word, names)),
                         fmt::format("one of {}", fmt::join(names, ", ")));
}

Result<Provenance> read_provenance(JsonReader& reader, std::string_view key, const Provenance& fallback) {
  std::optional<JsonReader> child = reader.optional(key);
  if (!child) return fallback;
  if (!child->is_object())
    return child->error("expected an object", R"(like {"origin": "datasheet", "source": "..."})");
  Provenance result;
  MOESIM_ASSIGN(result.origin, read_origin(*child, "origin", Origin::kUser));
  MOESIM_ASSIGN(result.source, child->string_or("source", ""));
  MOESIM_TRY(child->reject_unknown_keys());
  return result;
}

}  // namespace moesim
