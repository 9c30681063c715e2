// What the GEMMs of a rank's local experts cost when one kernel runs them all.
//
// As gemm_law.hpp, with the tiles of all groups in one sequence of waves: groups with few rows fill partly
// used tiles, and every non-empty group reads its own weights. Empty groups add nothing. For the weight
// gradient (`reduce_rows`) a group is an n x k output whose reduction runs over its rows, and the waves hold
// tiles of different length.
//
// Example, 2 groups of 128 rows, n = 4096, 132 units, 128x128 tiles: 2 * 32 = 64 tiles, one wave.
#pragma once

#include "models/cost/cost.hpp"
#include "models/cost/gemm_law.hpp"
#include "models/cost/work.hpp"

namespace moesim {

[[nodiscard]] Cost grouped_gemm_cost(const GemmMachine& machine, const GroupedGemmWork& work);

}  // namespace moesim
