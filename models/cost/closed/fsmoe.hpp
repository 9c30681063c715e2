// FSMoE's time of a layer in r chunks on three resources: exchanges between nodes, gathers and sums inside a node, experts
// (ASPLOS 2025, its four cases), and the best r.
//
// With times of one chunk, each alpha + beta * amount / r, and the gradients' all-reduce that shares the way between nodes:
//   inter bound     2 r a2a + gar
//   experts bound   2 a2a + ag + rs + r experts
//   A2A bound       2 r a2a + ag + rs
//   intra bound     2 a2a + r (ag + rs)
// The paper picks by inequalities between the terms; each form is a sum along one way through the chunks, so the longest of the
// four is the case that applies, and that is what stands here. Against a replay of the three resources cases one and two are
// exact nearly always, case three is up to 19 % too long, case four up to 16 % too short: a cross-check, no ground truth.
// Worked, r = 2, times of a chunk a2a 3, ag 1, rs 1, experts 2, gar 0: 12, 12, 14, 10: A2A bound, 14.
#pragma once

#include <cstdint>

#include "models/cost/closed/linear_time.hpp"
#include "models/cost/closed/pipemoe.hpp"

namespace moesim {

struct FsMoeLayer {
  LinearTime exchange;
  LinearTime gather;
  LinearTime reduce_scatter;
  LinearTime experts;
  Bytes exchanged;           // buffer of one all-to-all
  Bytes gathered;            // size of the all-gather and of the reduce-scatter over ESP
  double multiply_adds = 0;  // forward; twice that backwards
  Seconds gradients;         // the all-reduce placed inside this layer; 0 forward
};

enum class FsMoeCase : std::uint8_t { kInterBound, kExpertsBound, kExchangeBound, kIntraBound };
struct FsMoeTime {
  FsMoeCase bound = FsMoeCase::kInterBound;
  Seconds time;
};
[[nodiscard]] FsMoeTime fsmoe_time(const FsMoeLayer& layer, int degree);
// The least degree up to `most` that no other beats. Forward and backward have a best degree each.
[[nodiscard]] BestDegree fsmoe_best(const FsMoeLayer& layer, int most);

}  // namespace moesim
