#include "models/cluster/cluster_source.hpp"

#include <fmt/format.h>

#include "base/json_reader.hpp"
#include "base/text.hpp"
#include "embedded/cluster_preset_files.hpp"
#include "models/cluster/cluster_reader.hpp"

namespace moesim {
namespace {

constexpr std::string_view kPresetPrefix = "preset:";

// A preset file may list further names under "aliases".
Result<bool> answers_to(const EmbeddedFile& file, std::string_view wanted) {
  if (to_lower(file.name) == wanted) return true;
  MOESIM_ASSIGN(const JsonDocument document, JsonDocument::parse_text(file.content, std::string(file.name)));
  JsonReader root = document.root();
  const std::optional<JsonReader> aliases = root.optional("aliases");
  if (!aliases) return false;
  MOESIM_ASSIGN(const std::vector<JsonReader> list, aliases->elements());
  for (const JsonReader& alias : list) {
    MOESIM_ASSIGN(const std::string name, alias.as_string());
    if (to_lower(name) == wanted) return true;
  }
  return false;
}

Result<ClusterSpec> load_preset(std::string_view name, int nodes) {
  const std::string wanted = to_lower(trim(name));
  for (const EmbeddedFile& file : cluster_preset_files()) {
    MOESIM_ASSIGN(const bool found, answers_to(file, wanted));
    if (!found) continue;
    MOESIM_ASSIGN(const JsonDocument document,
                  JsonDocument::parse_text(file.content, fmt::format("{}{}", kPresetPrefix, file.name)));
    return read_cluster(document.root(), nodes);
  }
  const std::vector<std::string> names = preset_names();
  return usage_error(fmt::format("unknown cluster preset '{}'{}", name, did_you_mean(wanted, names)),
                     fmt::format("one of {}; or give the path of a cluster file", fmt::join(names, ", ")));
}

}  // namespace

Result<ClusterSpec> load_cluster(const std::string& source, int nodes) {
  if (nodes < 0 || nodes > kMaxNodes)
    return usage_error(fmt::format("--nodes {} is outside the range 1 to {}", nodes, kMaxNodes));
  if (to_lower(std::string_view(source).substr(0, kPresetPrefix.size())) == kPresetPrefix)
    return load_preset(std::string_view(source).substr(kPresetPrefix.size()), nodes);
  MOESIM_ASSIGN(const JsonDocument document, JsonDocument::parse_file(source));
  return read_cluster(document.root(), nodes);
}

std::vector<std::string> preset_names() {
  std::vector<std::string> names;
  for (const EmbeddedFile& file : cluster_preset_files()) names.emplace_back(file.name);
  return names;
}

}  // namespace moesim
