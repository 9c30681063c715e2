// From operations of a program to kernels and collectives.
#pragma once

#include <functional>
#include <vector>

#include "exec/run/rank_context.hpp"

namespace moesim {

// Runs an operation of the compute stream to its end.
[[nodiscard]] Status run_compute(const OpContext& context);

// Communication in flight. When all requests are done, `then` (where there is one) uses what came and may start more.
struct CommTask {
  std::vector<Request> requests;
  std::vector<BufferPtr> buffers;  // of the operands, kept until the end
  std::function<Status(CommTask&)> then;
};
[[nodiscard]] Result<CommTask> start_communication(const OpContext& context);

// The parts of the table, by file.
[[nodiscard]] Status run_routing(const OpContext& context);                      // gate, copies, sorts
[[nodiscard]] Result<CommTask> start_exchange(const OpContext& context);         // what moves routed copies
[[nodiscard]] Result<CommTask> start_synchronisation(const OpContext& context);  // gradients and parameters
[[nodiscard]] Result<CommTask> start_expert_transfer(
    const OpContext& context);  // weights of shadowed experts, and back
[[nodiscard]] Status add_expert_grads(const OpContext& context);
[[nodiscard]] Status run_optimizer(const OpContext& context);
[[nodiscard]] Status add_tied_gradients(const OpContext& context);  // of embedding and head on one stage

// Communication of a stream has a channel of its own; the two ends of a transfer name the same one.
[[nodiscard]] Channel channel_of(Stream stream);

// The square root of the sum of the squares of all gradients that this rank counts.
[[nodiscard]] Result<double> counted_square_sum(RankContext& rank);

}  // namespace moesim
