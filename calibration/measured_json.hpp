// The measured part of a profile section (models/cost/measured_laws.hpp) as JSON.
//
//   "gemm":        {"points": {"fp32": [[m, n, k, seconds], ...]}}
//   "attention":   {"forward": {"fp32": [[sequences, queries, keys, heads, key heads, score size, value size, seconds], ...]},
//                   "backward": ...}
//   "memory":      {"series": [{"kernel": "norm", "type": "fp32", CURVE}]}
//   "collectives": {"series": [{"operation": "all_gather", "algorithm": "ring", "ranks": 8, "nodes": 4,
//                               "ranks_per_node": 2, "port_sharers": 2, CURVE}]}
//   CURVE: "pieces": [[from_bytes, alpha_s, s_per_byte], ...], "measured": [[bytes, seconds], ...]
// The first and the last measured size are the range of the curve.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "base/json_reader.hpp"
#include "models/cost/measured_laws.hpp"

namespace moesim {

[[nodiscard]] Status read_measured(JsonReader& section, std::string_view name, MeasuredLaws& measured);
void write_measured(nlohmann::ordered_json& section, std::string_view name, const MeasuredLaws& measured);

// Puts arrays of numbers, which the library spreads over lines, on one line each.
[[nodiscard]] std::string with_short_arrays(std::string_view json);

}  // namespace moesim
