// Which token copies a rank gates and which it sends, where the ranks of a TP group hold the same tokens.
//
// A recording says what each rank's own tokens choose: tokens / TP of a micro-batch. A schedule may have the TP ranks gate all
// tokens of their group alike. What that makes of the loads is worked out here once, so that whoever reads RoutedLoads finds in
// `row` what a rank sends and in `chosen_row` what its gate chooses, whatever the schedule. A capacity is that of the tokens that
// a gate sees.
//
// Worked example: TP 2, 3 experts; the tokens of rank 0 choose (4, 0, 2), those of rank 1 (1, 2, 3).
//   kOwnTokens          rank 0 sends (4, 0, 2), rank 1 (1, 2, 3)
//   kShareOfEachExpert  both gate (5, 2, 5); rank 0 sends the first (2, 1, 2) of them, rank 1 the other (3, 1, 3)
//   kAllOfTpGroup       both gate and send (5, 2, 5)
//   kAllOfEspGroup      with an ESP group of the two: both have gathered the tokens twice and send (10, 4, 10)
#pragma once

#include <cstdint>
#include <memory>

#include "sim/plan/layout.hpp"
#include "sim/plan/plan.hpp"
#include "sim/program/routed_loads.hpp"
#include "sim/program/row_piece.hpp"

namespace moesim {

enum class CopyDivision : std::uint8_t {
  kOwnTokens,          // each rank gates tokens of its own
  kShareOfEachExpert,  // the TP ranks gate the same tokens, each sends its share of every expert's copies
  kAllOfTpGroup,       // the TP ranks gate the same tokens, each sends all copies, to its shard of the experts
  kAllOfEspGroup,      // the same after the ESP ranks have gathered each other's tokens, repeated ones among them
};

// `own`: what each rank's own tokens choose, by expert, with the plan's capacity applied. What is sent is by the plan's slots then: an
// expert's copies are cut at its capacity first, dealt out over its slots, and shared by the TP ranks last. The same object where
// nothing changes.
[[nodiscard]] std::shared_ptr<const RoutedLoads> divide_copies(std::shared_ptr<const RoutedLoads> own, const Plan& plan,
                                                               const Layout& layout, CopyDivision division);

}  // namespace moesim
