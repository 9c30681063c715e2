// A layer's Program in time and in memory: priced and replayed by the engine, followed by the memory walk.
//
// Times are those of the rank that the engine lets stand for all (sim/engine/price.hpp), the one with the most expert work; so
// are its floating-point operations. Bytes are what the busiest rank sends in each exchange, by the tier at which it meets the
// receiver, added up over exchanges.
#pragma once

#include <array>
#include <vector>

#include "models/cost/cost_model.hpp"
#include "sim/engine/category.hpp"
#include "sim/engine/price.hpp"
#include "sim/engine/replay.hpp"
#include "sim/memory/memory_walk.hpp"
#include "sim/program/program.hpp"

namespace moesim {

struct LayerTimes {
  Seconds forward;
  Seconds backward;  // with the reduction of gradients where asked for
  [[nodiscard]] Seconds total() const { return forward + backward; }
};

struct LayerResult {
  LayerTimes times;
  std::array<Seconds, kCategories> compute{};  // the compute stream runs an operation of this category
  std::array<Seconds, kCategories> exposed{};  // it waits for communication of this category
  BlockWork forward_work;
  BlockWork backward_work;
  StageMemory memory;
  bool fits = false;  // beside the framework's reserve, on the smallest device
  double extrapolated_fraction = 0;
  ReplayResult replay;  // with its intervals

  [[nodiscard]] Seconds exposed_communication() const;
  [[nodiscard]] Bytes sent_at(int tier) const;  // both passes
  [[nodiscard]] Flops flops() const { return forward_work.flops + backward_work.flops; }
};

// An error where the program cannot finish, which is a fault of its schedule.
[[nodiscard]] Result<LayerResult> play_layer(const Program& program, const CostModel& costs);

// The time alone, for many of them.
[[nodiscard]] Result<LayerTimes> time_layer(const Program& program, const CostModel& costs);

}  // namespace moesim
