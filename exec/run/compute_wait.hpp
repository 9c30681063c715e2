// Computation as a wait: operations of the compute stream take as long as they are told to, and compute nothing.
//
// For machines with fewer cores than ranks, where real kernels would measure the fight for cores: what is left to be measured is
// communication, the order of things, and how both hide behind each other. Kernels whose results decide what happens next still
// run (the choice of experts, its maps and what takes it to others, sums of a few numbers); gates see logits that are drawn, so the
// counts must be forced (Gating::kReplay). Losses and gradients mean nothing.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "exec/compute/compute_backend.hpp"

namespace moesim {

// How long an operation of this rank's stage is to take from its start, by call and operation of its block.
using OperationWaits = std::function<Seconds(std::int32_t call, std::int32_t op)>;

// The backend with kernels that do nothing.
[[nodiscard]] std::unique_ptr<ComputeBackend> without_kernels(std::unique_ptr<ComputeBackend> backend);

}  // namespace moesim
