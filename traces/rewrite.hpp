// What if another gate had chosen? Counts of a trace moved as a system's gate would move them; which answer the model would then give
// nobody knows. Results are marked as rewritten (TraceOrigin::kRewritten), in their side file and in everything made from them.
//
// Ranks stand in groups of `ep` neighbours (0: all source ranks are one group); the experts lie on them in even runs.
//
// Topology-aware gate (FasterMoE, PPoPP 2022, section 5.3; fmoe/gates/faster_gate.py). At most a part f of a rank's tokens may have a
// choice on another node, one each; the others choose on their own node. Counts do not tell first choices from second ones, nor the
// scores that say who may leave, so the rule works on sums: of a row with more than floor(f * tokens) selections off its node, that
// many are kept, in proportion to what each expert had, and the rest goes to the experts of the node in proportion to theirs, to
// none more than it has tokens. Rows below the limit stay as they are.
//   Worked: 4 ranks with an expert each, two to a node; 10 tokens, top-2, f 0.2; rank 0 has (4, 2, 8, 6). 14 are off the node and
//   2 may be: 8 : 6 gives 1 and 1. 12 more for (4, 2): (10, 2) would be (12, 6) in proportion, of which none may exceed 10, so
//   (10, 8).
//
// SWIPE (BaGuaLu, PPoPP 2022; fmoe/gates/swipe_gate.py). Every rank of a group computes equally many copies: it takes them from rank
// after rank until it has its share, and the sources give what was not taken to the ranks that have room, the first first. The gate
// does so choice by choice; the sums are those of all choices together. Of a rank's experts those that were sent more lose more, and
// what is given to a rank goes to its experts evenly, the first first.
//   Worked: 2 ranks with an expert each, rows (3, 1) and (4, 0): room for 4 each. Rank 0 takes 3 and 1; source 1 gives the other 3 to
//   rank 1: (3, 1) and (1, 3).
#pragma once

#include <string>

#include "base/error.hpp"
#include "base/units.hpp"
#include "traces/import.hpp"
#include "traces/selection_trace.hpp"

namespace moesim {

struct TopologyGate {
  int ep = 0;
  int ranks_per_node = 8;
  double fraction = 0.14;  // of a rank's tokens that may leave the node; FasterMoE's default
};
// Errors: no source ranks, groups or experts that do not divide, top_k not known or above the experts of a node, a fraction outside
// of 0 to 1.
[[nodiscard]] Result<SelectionTrace> keep_on_node(SelectionTrace trace, const TopologyGate& gate);

struct SwipeGate {
  int ep = 0;
};
[[nodiscard]] Result<SelectionTrace> balance_by_swipe(SelectionTrace trace, const SwipeGate& gate);

// The fraction with which what leaves over the node's network and what stays takes equally long: with g ranks that share the network,
//   g * f / W_net = (1 - f) / W_local, so f = 1 / (1 + g * W_local / W_net).
// Worked: 8 ranks, 300 GB/s inside and 25 GB/s for the node: 1 / 97 = 1.03 %.
[[nodiscard]] double even_fraction(int ranks_per_node, BytesPerSecond local, BytesPerSecond network_of_node);

// `trace rewrite`: writes `to` and its side file.
[[nodiscard]] Status write_trace(const SelectionTrace& trace, const std::string& to);

}  // namespace moesim
