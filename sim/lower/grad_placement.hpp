// Where gradient reductions stand in a backward pass: on a stream of their own as soon as they are ready, where they share the
// network with whatever expert communication meets them; or between the exchanges of the MoE layers that follow, on the stream of
// those, so that neither slows the other down.
//
// Both systems that do the latter cut reductions into pieces (Plan::grad_bucket_elements) and put them where the network would
// wait for the experts: Lina (ATC 2023, micro-ops of 30 MB that give way to the all-to-all) and FSMoE (ASPLOS 2025, section 4.3:
// D1 ... Dr, gradients, C1 ... Cr). Lina decides while it runs; here the order is fixed, one reduction to a layer, as in FSMoE,
// and what is left when the layers are through goes on its own stream.
//
// Example: reductions R1 and R2 are ready when the backward pass of MoE layer 5 begins; the exchanges then run
// C'(5) R1 D'(5) C'(4) R2 D'(4), where C' takes gradients to the experts and D' brings them back.
#pragma once

#include <vector>

#include "sim/program/program.hpp"

namespace moesim {

// Moves reductions of `ops`, a backward pass with its weight gradients; dependencies are kept.
void place_between_exchanges(std::vector<Op>& ops);

}  // namespace moesim
