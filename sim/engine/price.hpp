// Program -> ReplayProgram: what each operation takes on this cluster, and which ranks are played.
//
// Folding. Ranks of a stage whose groups see the same loads are one entity (LoadClass). Inside an EP group ranks differ:
// between two collectives the one with the most expert work decides, so the entity has the durations of that rank for
// each layer and micro-batch. kEveryRank plays each rank with its own durations. Without contention, on ranks alike:
//   balanced routing            equal
//   GPipe, 1F1B, interleaved    within 0.01 %: all ranks leave the dispatch together and the combine waits for the last.
//                               Not exactly, because one rank, the one with the longest up-projection, stands for the
//                               longest of every operation in between
//   with expert shards (ESP)    within 0.1 %: the rank that gathers most need not be the one with the longest GEMMs
//   weight gradients apart, or passes interleaved (zero bubble, DualPipe)   the role takes up to some percent longer:
//                               these pass several layers without meeting, where a busy rank could catch up
// Where ranks of one stage differ in their links (a device map, pp not outermost) the representative's count.
#pragma once

#include <array>
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
  RankId representative;  // the rank itself, or one of those it stands for
  int ranks = 1;          // how many it stands for
  int load_class = 0;
};

// What a block moves and multiplies for one entity, in its first variant.
struct BlockWork {
  std::array<double, kMaxTiers> sent_bytes{};  // by the busiest rank, to ranks that it meets at each tier
  Flops flops;                                 // of matrix products
};

struct PricedProgram {
  ReplayProgram replay;  // blocks and ops are numbered as in the Program
  std::vector<PricedEntity> entities;
  // Operations whose cost was read outside the range its law was fitted on, and all priced operations.
  std::int64_t extrapolated_ops = 0;
  std::int64_t priced_ops = 0;
  std::vector<BlockWork> work;  // [entity * blocks + block]; empty unless asked for
};

enum class CountWork { kNo, kYes };

struct PriceOptions {
  Folding folding = Folding::kRoles;
  // With kRoles: how many load classes to play, those with the most expert work first. The one with the most stands for all
  // by default, in a search as in everything that is asked about its plans, so that they name the same figures.
  int most_load_classes = 1;
  CountWork count_work = CountWork::kNo;
};

// The cost model's cluster must have as many ranks as the program's layout.
[[nodiscard]] PricedProgram price(const Program& program, const CostModel& costs, const PriceOptions& options);

}  // namespace moesim
