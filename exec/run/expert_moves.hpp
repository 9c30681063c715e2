// Experts take other slots in the middle of a run: their weights, master weights and moments go to the ranks of their new slots, in
// one exchange over EP for each of a layer's matrices (SmartMoE's placement change; its artifact sends experts one after the other
// and leaves the optimizer's state behind). From then on the routing maps send copies to the new slots; everything else of the run
// goes on as if the experts had always stood there.
#pragma once

#include "exec/run/rank_context.hpp"

namespace moesim {

// What a rank had to do with it.
struct ExpertMoves {
  std::int64_t experts = 0;  // that came to it from other ranks, over all layers
  Bytes sent;                // to other ranks
};

// Between two steps, on all ranks with the same slots. Not where replicas of experts each keep a part of the optimizer's state (ZeRO
// with EDP > 1), and not while experts are shadowed: their lists name slots.
[[nodiscard]] Status check_can_move(const Plan& plan, const RoutedLoads& loads);
[[nodiscard]] Result<ExpertMoves> move_experts(RankContext& rank, const ExpertSlots& next);

}  // namespace moesim
