// The price of a placement on a cluster: LayerTimeModel filled from the cost laws of CostModel.
//
// Computation is asked at row counts that double from 64 on, shared evenly by the experts of a device: the grouped products of
// one expert, forward, and both of its backward products. An exchange is asked at busy times that double from 1 us on, for
// every tier by itself, so that a matrix costs what CostModel::all_to_all_v says, to the error of the straight pieces between
// (below 1 % over random matrices; a test). Weights move at the rate of an exchange.
#pragma once

#include <cstdint>
#include <span>

#include "base/error.hpp"
#include "models/cost/cost_model.hpp"
#include "models/precision.hpp"
#include "models/shape/model_shape.hpp"
#include "sim/placement/layer_time.hpp"

namespace moesim {

struct LayerLawRequest {
  std::int64_t hidden = 0;
  MoeShape moe;
  PrecisionRecipe precision;
  std::int64_t largest_rows = 0;  // that a device may have to compute; the curve reaches so far
};

// `ranks`: the devices of the EP group, all of one kind (an error otherwise).
[[nodiscard]] Result<LayerTimeModel> layer_time_model(const CostModel& costs, std::span<const RankId> ranks,
                                                      const LayerLawRequest& request);

// `ranks`: those of the first replica, then those of the second, ...
[[nodiscard]] CutReplicas cut_replicas(const CostModel& costs, std::span<const RankId> ranks, int replicas,
                                       const LayerLawRequest& request);

}  // namespace moesim
