// Reads {"origin": "datasheet", "source": "..."} wherever an input file may say where a figure comes from.
#pragma once

#include <string_view>

#include "base/json_reader.hpp"
#include "models/provenance.hpp"

namespace moesim {

// The object under `key` of `reader`; `fallback` when there is none.
[[nodiscard]] Result<Provenance> read_provenance(JsonReader& reader, std::string_view key, const Provenance& fallback);

// A bare origin word: "datasheet", "measured", "fitted", "estimated" or "user".
[[nodiscard]] Result<Origin> read_origin(JsonReader& reader, std::string_view key, Origin fallback);

}  // namespace moesim
