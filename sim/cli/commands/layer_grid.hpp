// A whole grid of layers: the answer of `moesim layer --grid`.
#pragma once

#include <string>
#include <vector>

#include "sim/cli/session.hpp"
#include "sim/layer/one_layer.hpp"

namespace moesim {

struct LayerGridRequest {
  std::string grid;
  std::vector<std::string> profiles;  // before those of the grid
  std::string baseline;               // empty: the first schedule
  std::string plot;                   // empty: none
  int jobs = 0;                       // 0: as many as cores
  LayerOptions options;
};

[[nodiscard]] RunResult run_layer_grid(Session& session, const LayerGridRequest& request);

}  // namespace moesim
