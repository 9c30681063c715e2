// Many MoE layers at once: lists of values, every combination of them a layer, under every schedule.
//
// A grid file is JSON (docs/layer.md):
//   {"clusters": [{"cluster": "preset:rtx2080ti", "nodes": 8}], "precision": "fp32", "tp_esp": [[1, 2], [4, 4]],
//    "batch": [2, 4], "seq": [512], "hidden": [1024], "expert_width": [4096], "experts_per_ep_rank": [1], "top_k": [2],
//    "capacity_factor": [1.2], "gated": [false], "profiles": ["published:fsmoe-testbed-b"], "note": "..."}
// `width_multiple` (of hidden) may stand for `expert_width`, `experts` (as many as that) for `experts_per_ep_rank`. EP is what
// remains: ranks / ESP, or as many as the experts divide by. Worked: 2 pairs x 2 batches: 4 layers.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.hpp"

namespace moesim {

struct GridCluster {
  std::string cluster;  // as on the command line
  int nodes = 0;        // 0: as many as it has
};

struct LayerGrid {
  std::string name;
  std::string note;
  std::string baseline;  // schedule that others are compared with; empty: the first listed
  std::vector<GridCluster> clusters;
  std::vector<std::string> profiles;
  std::string precision = "bf16";
  std::vector<std::pair<int, int>> tp_esp;
  std::vector<std::int64_t> batch;
  std::vector<std::int64_t> seq;
  std::vector<std::int64_t> hidden;
  std::vector<std::int64_t> expert_width;  // one of these two is empty
  std::vector<std::int64_t> width_multiple;
  std::vector<std::int64_t> experts;  // and one of these two
  std::vector<std::int64_t> experts_per_ep_rank;
  std::vector<std::int64_t> top_k;
  std::vector<double> capacity_factor;  // 0: nothing is dropped or padded
  std::vector<bool> gated;

  [[nodiscard]] std::size_t layers_per_cell() const;  // of one cluster and pair
  [[nodiscard]] std::size_t cells() const { return clusters.size() * tp_esp.size(); }
  [[nodiscard]] std::size_t size() const { return cells() * layers_per_cell(); }
};

// One combination, clusters and pairs outermost, widths innermost.
struct GridPoint {
  std::size_t cluster = 0;
  int tp = 1;
  int esp = 1;
  std::int64_t batch = 0;
  std::int64_t seq = 0;
  std::int64_t hidden = 0;
  std::int64_t expert_width = 0;
  std::int64_t experts = 0;  // in all, or on each EP rank
  bool experts_are_per_rank = true;
  std::int64_t top_k = 0;
  double capacity_factor = 0;
  bool gated = false;
};
[[nodiscard]] GridPoint grid_point(const LayerGrid& grid, std::size_t index);
[[nodiscard]] std::string point_text(const GridPoint& point);  // "TP 4 ESP 4 B 2 L 512 M 1024 H 4096 k 2 f 1.2"

inline constexpr std::string_view kBuiltinPrefix = "builtin:";
inline constexpr std::size_t kLargestGrid = 1'000'000;  // layers
[[nodiscard]] std::vector<std::string> builtin_grid_names();
// builtin:NAME or a file.
[[nodiscard]] Result<LayerGrid> load_grid(const std::string& source);
[[nodiscard]] Result<LayerGrid> parse_grid(std::string_view text, const std::string& name);

}  // namespace moesim
