// One pass of a MoE layer under a schedule, played under a clock of the test's own, which says what each operation takes. No two
// operations are in each other's way, but for the share of compute units that the plan gives to exchanges.
#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "sim/lower/moe_schedule.hpp"
#include "tests/unit/sim/layer/layer_testing.hpp"

namespace moesim {

using OpClock = std::function<Picoseconds(const Op&)>;

class ClockedLayer {
 public:
  ClockedLayer(const LayerCase& layer, const Plan& plan, BlockKind pass, const CostModel& costs) {
    auto program = lower_layer(layer, plan, {});
    EXPECT_TRUE(program.has_value()) << (program ? std::string() : program.error().what);
    program_ = std::move(*program);
    replay_ = price(program_, costs, {}).replay;
    replay_.compute_slowdown = 1;
    std::erase_if(replay_.entities.front().calls,
                  [&](const ReplayCall& call) { return program_.blocks[call.block].kind != pass; });
    for (std::size_t b = 0; b < replay_.blocks.size(); ++b) {
      if (program_.blocks[b].kind == pass) block_ = b;
      for (ReplayOp& op : replay_.blocks[b].ops) op.port_use = 0;
    }
  }

  Picoseconds play(const OpClock& clock) {
    auto& table = replay_.durations[replay_.entities.front().durations];
    for (std::size_t b = 0; b < replay_.blocks.size(); ++b)
      for (std::size_t i = 0; i < replay_.blocks[b].ops.size(); ++i)
        table[replay_.blocks[b].ops[i].duration] = clock(program_.blocks[b].ops[i]);
    const ReplayResult result = replay(replay_, {});
    EXPECT_TRUE(result.finished);
    return result.end;
  }

  [[nodiscard]] const std::vector<Op>& ops() const { return program_.blocks[block_].ops; }
  [[nodiscard]] const Program& program() const { return program_; }

 private:
  Program program_;
  ReplayProgram replay_;
  std::size_t block_ = 0;
};

}  // namespace moesim
