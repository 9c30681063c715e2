// All-to-all as one grouped exchange of every rank with every other, and single messages.
//
//   all-to-all: every pair moves S/n; the busiest port decides, plus a step per peer. Equals
//   all_to_all_v_law.hpp on a uniform matrix. Example, 8 ranks, 1 GB at 450 GB/s and 0.75: 7/8 GB / 337.5
//   GB/s = 2.59 ms. send_recv: one message between the two ranks of the group (of a larger group: its
//   outermost tier decides).
#pragma once

#include "models/cost/collective_terms.hpp"

namespace moesim {

[[nodiscard]] CommCost pairwise_cost(const GroupTopology& group, const LawParameters& parameters, Bytes size);
[[nodiscard]] CommCost send_recv_cost(const GroupTopology& group, const LawParameters& parameters, Bytes size);
// Base and peer steps of an exchange with everyone.
[[nodiscard]] double exchange_latency(const GroupTopology& group, const LawParameters& parameters);

}  // namespace moesim
