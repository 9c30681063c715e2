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
    const OpContext& context);                                                  // weights of shadowed experts, and back
[[nodiscard]] Result<CommTask> start_guest_transfer(const OpContext& context);  // weights of guests, and gradients back
// Tokens that travel once for every part that they visit: the rows of the next hop, their sum, and the way there and back.
[[nodiscard]] Status run_spread(const OpContext& context);
[[nodiscard]] Status run_sum_spread(const OpContext& context);
[[nodiscard]] bool carries_visits(const OpContext& context);
[[nodiscard]] Result<CommTask> start_visits(const OpContext& context);
[[nodiscard]] Status add_expert_grads(const OpContext& context);
[[nodiscard]] Status run_optimizer(const OpContext& context);
[[nodiscard]] Status add_tied_gradients(const OpContext& context);  // of embedding and head on one stage

// Communication of a stream has a channel of its own; the two ends of a transfer name the same one.
[[nodiscard]] Channel channel_of(Stream stream);

// All-to-all-v of every operand in the operation's group: `rows(a, b)` go from member a to member b on the way out, and back where
// the operation combines.
using RowsBetween = std::function<std::int64_t(std::size_t, std::size_t)>;
[[nodiscard]] Status exchange_rows(const OpContext& context, CommTask& task, const RowsBetween& rows);

// Where the experts of the operation's layer stand, by expert; null: in order, or some of them in several slots.
[[nodiscard]] const std::int32_t* slots_of_layer(const OpContext& context);
// What the gate chose for these rows of its result: expert ids, [row][choice].
[[nodiscard]] Result<std::vector<std::int32_t>> chosen_experts(const OpContext& context,
                                                               const MatrixView& probabilities);
// How often it chose each.
[[nodiscard]] std::vector<std::int32_t> counts_of(const std::vector<std::int32_t>& chosen, std::int64_t experts);

// The square root of the sum of the squares of all gradients that this rank counts.
[[nodiscard]] Result<double> counted_square_sum(RankContext& rank);

}  // namespace moesim
