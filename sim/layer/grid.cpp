#include "sim/layer/grid.hpp"

#include <fmt/format.h>

#include <optional>
#include <utility>

#include "base/file.hpp"
#include "base/json_reader.hpp"
#include "base/text.hpp"
#include "embedded/layer_grid_files.hpp"
#include "models/precision.hpp"
#include "models/shape/model_shape.hpp"
#include "sim/lower/moe_schedule.hpp"
#include "sim/plan/layout.hpp"

namespace moesim {
namespace {

constexpr std::uint64_t kLargestGridFile = std::uint64_t{1} << 20;

Result<std::vector<JsonReader>> list_of(JsonReader& root, std::string_view key) {
  MOESIM_ASSIGN(const JsonReader list, root.required(key));
  MOESIM_ASSIGN(std::vector<JsonReader> elements, list.elements());
  if (elements.empty()) return root.error_at(key, "is empty", "list at least one value");
  return elements;
}

Result<std::vector<std::int64_t>> whole_list(JsonReader& root, std::string_view key, std::int64_t largest) {
  MOESIM_ASSIGN(const std::vector<JsonReader> elements, list_of(root, key));
  std::vector<std::int64_t> values;
  for (const JsonReader& element : elements) {
    MOESIM_ASSIGN(const std::int64_t value, element.as_int(1, largest));
    values.push_back(value);
  }
  return values;
}

// Exactly one of the two keys.
Status one_of_two(JsonReader& root, std::string_view a, std::vector<std::int64_t>& values_a, std::string_view b,
                  std::vector<std::int64_t>& values_b, std::int64_t largest) {
  if (root.has(a) == root.has(b))
    return root.error(fmt::format("gives {} of '{}' and '{}'", root.has(a) ? "both" : "neither", a, b),
                      "give one of them");
  const bool first = root.has(a);
  MOESIM_ASSIGN((first ? values_a : values_b), whole_list(root, first ? a : b, largest));
  return {};
}

Status read_clusters(JsonReader& root, LayerGrid& grid) {
  MOESIM_ASSIGN(const std::vector<JsonReader> elements, list_of(root, "clusters"));
  for (JsonReader element : elements) {
    GridCluster cluster;
    MOESIM_ASSIGN(cluster.cluster, element.required_string("cluster"));
    MOESIM_ASSIGN(const std::int64_t nodes, element.int_or("nodes", 0, 0, 100'000));
    cluster.nodes = static_cast<int>(nodes);
    MOESIM_TRY(element.reject_unknown_keys());
    grid.clusters.push_back(std::move(cluster));
  }
  return {};
}

Status read_pairs(JsonReader& root, LayerGrid& grid) {
  MOESIM_ASSIGN(const std::vector<JsonReader> elements, list_of(root, "tp_esp"));
  for (const JsonReader& element : elements) {
    MOESIM_ASSIGN(const std::vector<JsonReader> pair, element.elements());
    if (pair.size() != 2) return element.error("is not a pair", "write [TP, ESP]");
    MOESIM_ASSIGN(const std::int64_t tp, pair[0].as_int(1, kLargestWorld));
    MOESIM_ASSIGN(const std::int64_t esp, pair[1].as_int(1, kLargestWorld));
    grid.tp_esp.emplace_back(static_cast<int>(tp), static_cast<int>(esp));
  }
  return {};
}

Status read_capacities(JsonReader& root, LayerGrid& grid) {
  MOESIM_ASSIGN(const std::vector<JsonReader> elements, list_of(root, "capacity_factor"));
  for (const JsonReader& element : elements) {
    MOESIM_ASSIGN(const double value, element.as_double(0, 1e6));
    grid.capacity_factor.push_back(value);
  }
  return {};
}

Status read_gated(JsonReader& root, LayerGrid& grid) {
  MOESIM_ASSIGN(const std::vector<JsonReader> elements, list_of(root, "gated"));
  for (const JsonReader& element : elements) {
    MOESIM_ASSIGN(const bool value, element.as_bool());
    grid.gated.push_back(value);
  }
  return {};
}

Status read_profiles(JsonReader& root, LayerGrid& grid) {
  const std::optional<JsonReader> list = root.optional("profiles");
  if (!list) return {};
  MOESIM_ASSIGN(const std::vector<JsonReader> elements, list->elements());
  for (const JsonReader& element : elements) {
    MOESIM_ASSIGN(std::string name, element.as_string());
    grid.profiles.push_back(std::move(name));
  }
  return {};
}

// Takes the next digit of a number whose last digits count the innermost list.
std::size_t take_digit(std::size_t& rest, std::size_t values) {
  const std::size_t chosen = rest % values;
  rest /= values;
  return chosen;
}

}  // namespace

std::size_t LayerGrid::layers_per_cell() const {
  return batch.size() * seq.size() * hidden.size() * (expert_width.size() + width_multiple.size()) *
         (experts.size() + experts_per_ep_rank.size()) * top_k.size() * capacity_factor.size() * gated.size();
}

GridPoint grid_point(const LayerGrid& grid, std::size_t index) {
  GridPoint point;
  const std::vector<std::int64_t>& widths = grid.expert_width.empty() ? grid.width_multiple : grid.expert_width;
  point.experts_are_per_rank = grid.experts.empty();
  const std::vector<std::int64_t>& experts = point.experts_are_per_rank ? grid.experts_per_ep_rank : grid.experts;
  const std::int64_t width = widths[take_digit(index, widths.size())];
  point.hidden = grid.hidden[take_digit(index, grid.hidden.size())];
  point.expert_width = grid.expert_width.empty() ? width * point.hidden : width;
  point.seq = grid.seq[take_digit(index, grid.seq.size())];
  point.batch = grid.batch[take_digit(index, grid.batch.size())];
  point.capacity_factor = grid.capacity_factor[take_digit(index, grid.capacity_factor.size())];
  point.top_k = grid.top_k[take_digit(index, grid.top_k.size())];
  point.experts = experts[take_digit(index, experts.size())];
  point.gated = grid.gated[take_digit(index, grid.gated.size())];
  const auto& [tp, esp] = grid.tp_esp[take_digit(index, grid.tp_esp.size())];
  point.tp = tp;
  point.esp = esp;
  point.cluster = index;
  return point;
}

std::string point_text(const GridPoint& point) {
  return fmt::format("TP {} ESP {} B {} L {} M {} H {} k {} f {}{}", point.tp, point.esp, point.batch, point.seq,
                     point.hidden, point.expert_width, point.top_k, point.capacity_factor, point.gated ? " gated" : "");
}

std::vector<std::string> builtin_grid_names() {
  std::vector<std::string> names;
  for (const EmbeddedFile& file : layer_grid_files()) names.emplace_back(file.name);
  return names;
}

Result<LayerGrid> parse_grid(std::string_view text, const std::string& name) {
  MOESIM_ASSIGN(const JsonDocument document, JsonDocument::parse_text(text, name));
  JsonReader root = document.root();
  LayerGrid grid;
  grid.name = name;
  MOESIM_ASSIGN(grid.note, root.string_or("note", ""));
  MOESIM_ASSIGN(grid.baseline, root.string_or("baseline", ""));
  if (!grid.baseline.empty())
    if (const auto schedule = find_moe_schedule(grid.baseline); !schedule)
      return root.error_at("baseline", schedule.error().what, schedule.error().hint);
  MOESIM_ASSIGN(grid.precision, root.string_or("precision", "bf16"));
  if (const auto recipe = find_precision(grid.precision); !recipe)
    return root.error_at("precision", recipe.error().what, recipe.error().hint);
  MOESIM_TRY(read_clusters(root, grid));
  MOESIM_TRY(read_pairs(root, grid));
  MOESIM_TRY(read_profiles(root, grid));
  MOESIM_ASSIGN(grid.batch, whole_list(root, "batch", 1'000'000));
  MOESIM_ASSIGN(grid.seq, whole_list(root, "seq", 100'000'000));
  MOESIM_ASSIGN(grid.hidden, whole_list(root, "hidden", ShapeLimits::kHidden));
  MOESIM_TRY(one_of_two(root, "expert_width", grid.expert_width, "width_multiple", grid.width_multiple,
                        root.has("width_multiple") ? 1000 : ShapeLimits::kWidth));
  MOESIM_TRY(one_of_two(root, "experts", grid.experts, "experts_per_ep_rank", grid.experts_per_ep_rank,
                        root.has("experts") ? ShapeLimits::kExperts : 1000));
  MOESIM_ASSIGN(grid.top_k, whole_list(root, "top_k", 1024));
  MOESIM_TRY(read_capacities(root, grid));
  MOESIM_TRY(read_gated(root, grid));
  MOESIM_TRY(root.reject_unknown_keys());
  // Each list is short of 2^20 entries, but their product need not fit a number.
  double layers = static_cast<double>(grid.cells());
  for (const std::size_t values :
       {grid.batch.size(), grid.seq.size(), grid.hidden.size(), grid.expert_width.size() + grid.width_multiple.size(),
        grid.experts.size() + grid.experts_per_ep_rank.size(), grid.top_k.size(), grid.capacity_factor.size(),
        grid.gated.size()})
    layers *= static_cast<double>(values);
  if (layers > static_cast<double>(kLargestGrid))
    return root.error(fmt::format("has {:.3g} layers, at most {} are played", layers, kLargestGrid));
  return grid;
}

Result<LayerGrid> load_grid(const std::string& source) {
  if (!source.starts_with(kBuiltinPrefix)) {
    MOESIM_ASSIGN(const std::string text, read_text_file(source, kLargestGridFile));
    return parse_grid(text, source);
  }
  const std::string name = source.substr(kBuiltinPrefix.size());
  for (const EmbeddedFile& file : layer_grid_files())
    if (file.name == name) return parse_grid(file.content, source);
  const std::vector<std::string> names = builtin_grid_names();
  return usage_error(fmt::format("no grid is called '{}'{}", name, did_you_mean(name, names)),
                     fmt::format("builtin are {}; or name a file", fmt::join(names, ", ")));
}

}  // namespace moesim
