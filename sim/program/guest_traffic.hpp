// What guests of experts cost the network: their homes send them weights at the beginning of a step and get their gradients at its
// end (sim/plan/layer_slots.hpp), over the EP group, all of a bucket in one exchange.
// Worked, 4 experts on 2 devices as {0 1 2 | 3 0 -}: device 1 gets one expert from device 0; of matrices of 6 and 3 numbers in BF16 18
// bytes, and sends back 36 of FP32 gradients.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/program/program.hpp"

namespace moesim {

[[nodiscard]] inline bool moves_guests(const Op& op) {
  return op.group == GroupKind::kEp && (op.kind == OpKind::kGatherParams || op.kind == OpKind::kReduceGrads);
}

// Bytes from EP member to EP member, row-major, of an operation that moves guests.
[[nodiscard]] std::vector<std::int64_t> guest_bytes(const Program& program, const Op& op);

}  // namespace moesim
