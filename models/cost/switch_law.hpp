// All-reduce inside the switch (NVLink SHARP): every rank sends its buffer once and receives the sum once, so
// the rate does not depend on the number of ranks and busbw exceeds the link's rate.
//
//   T = switch_base + S / (port * switch_efficiency), pipelined. Needs an NVSwitch of Hopper or later, more
//   than two ranks, all in one domain.
//
// Example, 1 GiB at 450 GB/s and 0.61: 1.074e9 / 274.5e9 = 3.91 ms, busbw on 8 ranks 1.75 * 274.5 = 480 GB/s.
#pragma once

#include "models/cost/collective_terms.hpp"

namespace moesim {

[[nodiscard]] bool switch_applies(CollectiveKind kind, const GroupTopology& group);
[[nodiscard]] CommCost switch_cost(const GroupTopology& group, const LawParameters& parameters, Bytes size);

}  // namespace moesim
