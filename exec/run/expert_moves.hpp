// Experts take other slots in the middle of a run: their weights, master weights and moments go to the ranks of their new slots, in
// one exchange for each buffer of each of a layer's matrices (SmartMoE's placement change; its artifact sends experts one after the
// other and leaves the optimizer's state behind). What every rank has whole moves inside its EP group; what ZeRO cuts over replicas
// goes from the ranks whose part it was in to those whose part it comes to be in, over EP x EDP (sim/plan/expert_parts.hpp).
// From then on the routing maps send copies to the new slots; everything else of the run goes on as if the experts had always
// stood there.
#pragma once

#include "exec/run/rank_context.hpp"

namespace moesim {

// What a rank had to do with it.
struct ExpertMoves {
  std::int64_t experts = 0;  // that it computes from now on and other ranks did before, over all layers
  Bytes sent;                // to other ranks
};

// Between two steps, on all ranks with the same slots. Not while experts are shadowed, whose lists name slots; nor to slots that take
// other memory than those the program was made for (sim/plan/layer_slots.hpp). What moves are homes, guests follow in the next step.
[[nodiscard]] Status check_can_move(const Program& program, const ExpertSlots& next);
[[nodiscard]] Result<ExpertMoves> move_experts(RankContext& rank, const ExpertSlots& next);

}  // namespace moesim
