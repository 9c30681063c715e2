// Program -> ReplayProgram: what each operation takes on this cluster, and which ranks are played.
//
// Folding. Ranks of a stage whose groups see the same loads are one entity (LoadClass). Inside an EP group ranks differ:
// between two collectives the one with the most expert work decides, so the entity has the durations of that rank for
// each layer and micro-batch. With every op between dispatch and combine on the compute stream this is exact, not an
// approximation: all ranks leave the dispatch together and the combine waits for the last. kEveryRank plays each rank
// with its own durations; a test holds the two equal.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "models/cost/cost_model.hpp"
#include "sim/engine/category.hpp"
#include "sim/engine/replay_program.hpp"
#include "sim/program/program.hpp"

namespace moesim {

enum class Folding { kRoles, kEveryRank };

struct PricedEntity {
  StageId stage;
  RankId representative;       // the rank itself, or one of those it stands for
  int ranks = 1;               // how many it stands for
  int load_class = 0;
};

struct PricedProgram {
  ReplayProgram replay;        // blocks and ops are numbered as in the Program
  std::vector<PricedEntity> entities;
  // Operations whose cost was read outside the range its law was fitted on, and all priced operations.
  std::int64_t extrapolated_ops = 0;
  std::int64_t priced_ops = 0;
};

struct PriceOptions {
  Folding folding = Folding::kRoles;
  // With kRoles: how many load classes to play, those with the most expert work first. Search plays the worst one.
  int most_load_classes = 8;
};

// The cost model's cluster must have as many ranks as the program's layout.
[[nodiscard]] PricedProgram price(const Program& program, const CostModel& costs, const PriceOptions& options);

}  // namespace moesim
