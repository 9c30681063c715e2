// Cluster files: whatever the bytes, reading and compiling give a value or an error.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/json_reader.hpp"
#include "models/cluster/cluster_reader.hpp"
#include "models/cluster/cluster_source.hpp"
#include "models/cluster/consistency.hpp"
#include "models/cluster/draw.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto document = moesim::JsonDocument::parse_text(text, "fuzz");
  if (!document) return 0;
  const auto spec = moesim::read_cluster(document->root(), 0);
  if (!spec || spec->ranks() > 4096) return 0;  // large ones are slow, not different
  const auto view = moesim::compile(*spec);
  if (!view) return 0;
  static_cast<void>(moesim::draw(*spec, *view));
  static_cast<void>(moesim::check_consistency(*spec, *view));
  return 0;
}
