// A trace as plans are asked about it: read, judged, and ready to be mapped to any layout. The same for what is simulated and
// for what is executed.
#pragma once

#include <string>
#include <vector>

#include "base/error.hpp"
#include "models/shape/model_shape.hpp"
#include "traces/import.hpp"
#include "traces/remap.hpp"

namespace moesim {

struct RoutingSource {
  std::string trace;  // as on the command line, or a prior (traces/prior.hpp)
  int step = -1;      // index of a recorded step; -1: all of them together
  ImportOptions import;
  const ModelShape* model = nullptr;  // the one that is asked about
};

// Errors name the trace. What a user should know of it is added to `notes`: findings that matter, that it is synthetic, or of
// another model.
[[nodiscard]] Result<LoadMapper> load_routing(const RoutingSource& source, std::vector<std::string>& notes);
// The recording itself, all its steps; `source.step` is not looked at. A prior has no steps to be played. Its token rows, if it has any, go to `tokens` besides.
[[nodiscard]] Result<SelectionTrace> load_recording(const RoutingSource& source, std::vector<std::string>& notes,
                                                    RowSink* tokens = nullptr);

}  // namespace moesim
