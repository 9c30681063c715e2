// Placements that keep experts together which tokens choose together, for dispatchers that send a token once to each node and device
// (token_exchange.hpp): the time of such a layer, and the search of local_search.hpp over it. Counts by expert give the computation,
// token rows the exchanges: balance and traffic are weighed against each other in seconds.
// Worked, 2 nodes of one device, 4 experts, 10 tokens {0, 1} and 10 {2, 3} of device 0: contiguous, 10 tokens cross the network; {0, 2 | 1, 3},
// 20 do.
#pragma once

#include <cstdint>

#include "sim/placement/local_search.hpp"
#include "sim/placement/token_exchange.hpp"

namespace moesim {

// `counts` of one micro-batch, whose tokens are routed like `tokens` are. Without shadowed experts.
[[nodiscard]] LocalSearchResult search_co_activation(const LayerTimeModel& model, const PredictedCounts& counts,
                                                     const TokenSet& tokens, const ExpertPlacement& start,
                                                     const LocalSearchOptions& options);

// Tokens of one micro-batch, by its counts.
template <class Count>
[[nodiscard]] double tokens_of(const CountsView<Count>& counts, const TokenSet& tokens) {
  double copies = 0;
  for (const Count count : counts.counts) copies += static_cast<double>(count);
  return tokens.top_k > 0 ? copies / tokens.top_k : 0;
}

}  // namespace moesim
