// Every layer of a grid under every schedule, each in the numbers of pieces that suit it best, and what follows: speed-ups,
// winners, and how well Parm's rule chose.
//
// Layers are independent jobs on a few threads that write to their own places, so the result does not depend on how many. A
// layer under a schedule has one of three outcomes: a time, no memory for it in any number of pieces (on the smallest device, beside
// the framework's reserve), or the schedule refuses it. A layer whose baseline has no time is dropped, as the papers drop it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/units.hpp"
#include "models/cost/closed/parm.hpp"
#include "models/cost/cost_model.hpp"
#include "sim/layer/grid.hpp"
#include "sim/layer/one_layer.hpp"
#include "sim/lower/moe_schedule.hpp"

namespace moesim {

enum class GridOutcome : std::uint8_t { kTimed, kDoesNotFit, kRefused };

struct GridTimes {
  std::vector<const MoeSchedule*> schedules;
  std::vector<GridOutcome> outcomes;  // [layer * schedules + schedule]
  std::vector<Seconds> seconds;       // the same; forward and backward, or forward alone
  std::vector<int> degrees;           // the same: in how many pieces it took that
  std::vector<int> backward_degrees;  // and its backward pass
  std::vector<Seconds> alike;         // the same: with the best number of pieces that is one for both passes
  // The same: what the fastest forward and the fastest backward pass add up to, if nothing had to be cut again between them.
  std::vector<Seconds> passes_apart;
  std::vector<ParmChoice> rule;  // by layer

  [[nodiscard]] std::size_t layers() const { return rule.size(); }
  [[nodiscard]] std::size_t place(std::size_t layer, std::size_t schedule) const {
    return layer * schedules.size() + schedule;
  }
  [[nodiscard]] bool timed(std::size_t layer, std::size_t schedule) const {
    return outcomes[place(layer, schedule)] == GridOutcome::kTimed;
  }
  // The fastest schedule of a layer, the first listed of equals; nullopt: none has a time.
  [[nodiscard]] std::optional<std::size_t> winner(std::size_t layer) const;
};

// `clusters` are those of the grid, in its order. An error names the layer that does not divide.
[[nodiscard]] Result<GridTimes> play_grid(const LayerGrid& grid, std::span<const CostModel* const> clusters,
                                          std::span<const MoeSchedule* const> schedules, const LayerOptions& options,
                                          int threads);

}  // namespace moesim
