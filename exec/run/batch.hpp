// Which tokens a rank works on: the sequences of its micro-batches, cut over context parallelism.
//
// Sequence b of micro-batch m of data-parallel rank d in step s is number
//   s * global_batch + (m * dp + d) * micro_batch + b
// of an endless stream, so that every layout sees the same sequences in a step. Under CP each rank holds two pieces of every
// sequence, c and 2 cp - 1 - c of 2 cp, which balances the causal mask; rows are in the order of sequences, then of positions.
// Example: 8 positions, cp 2: rank 0 holds 0 1 6 7, rank 1 holds 2 3 4 5.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "exec/compute/layer_args.hpp"
#include "sim/plan/plan.hpp"

namespace moesim {

// Gives the first `length` tokens of a sequence; the same on all ranks.
using SequenceSource = std::function<std::vector<std::int32_t>(std::int64_t sequence, std::int64_t length)>;

// A text without meaning that can be learned: each token follows from the one before it, but for one in eight, which is random.
[[nodiscard]] SequenceSource synthetic_sequences(std::int64_t vocab, std::uint64_t seed);

// The bytes of a text as tokens 0 to 255, for a vocabulary of at least 256. A sequence begins at a place that its number decides;
// what goes past the end goes on at the beginning. The text must not be empty.
[[nodiscard]] SequenceSource text_sequences(std::string text, std::uint64_t seed);

// One number per row of an activation before TP or sequence parallelism.
struct MicroBatchRows {
  std::vector<std::int32_t> tokens, labels, positions, sequences;
  // The keys that context parallelism gathers, in the order of the CP ranks.
  std::vector<std::int32_t> key_positions, key_sequences;
  [[nodiscard]] TokenPlaces queries() const;
  [[nodiscard]] TokenPlaces keys() const;
};
[[nodiscard]] MicroBatchRows micro_batch_rows(const Plan& plan, const Layout::Coordinates& at, std::int64_t step,
                                              std::int32_t micro_batch, const SequenceSource& source);

[[nodiscard]] inline IndexView index_view(const std::vector<std::int32_t>& numbers) {
  return {numbers.data(), static_cast<std::int64_t>(numbers.size())};
}

}  // namespace moesim
