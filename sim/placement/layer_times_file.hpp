// Measured times of MoE layers for a replay: CSV with the columns iteration, layer (number of the MoE layer, from 0) and time_s, of one
// micro-batch, the first, forward and backward, under neighbouring experts. The counts are those of the recording.
//
// With them a replay prices placements by a fit (layer_fit.hpp) in place of the cluster's laws; what a row weighs on the ports, the bytes
// of experts and the price of a shadow stay those of the laws.
#pragma once

#include <string>

#include "base/error.hpp"
#include "sim/placement/layer_fit.hpp"
#include "sim/placement/replay_trace.hpp"

namespace moesim {

// Errors name the line: an iteration that was not recorded, a layer that is not there, a time that is no number.
[[nodiscard]] Result<LayerFit> fit_layer_times_file(const std::string& path, const ReplayTrace& trace,
                                                    const LayerTimeModel& laws);
// The same for text in memory; `name` stands for the path.
[[nodiscard]] Result<LayerFit> fit_layer_times_text(std::string text, const std::string& name, const ReplayTrace& trace,
                                                    const LayerTimeModel& laws);

}  // namespace moesim
