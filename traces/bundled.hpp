// Traces that travel inside the program, for first steps without a recording of one's own: small models trained with
// `moeexec record` (traces/recorded/README.md).
//
// Everywhere a trace is read, "bundled:NAME" names one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace moesim {

inline constexpr std::string_view kBundledPrefix = "bundled:";

struct BundledTrace {
  std::string_view name;
  std::string_view counts;     // counts CSV, compressed with zstd
  std::string_view side_file;  // JSON
};

[[nodiscard]] std::vector<BundledTrace> bundled_traces();
[[nodiscard]] Result<BundledTrace> find_bundled_trace(std::string_view name);

}  // namespace moesim
