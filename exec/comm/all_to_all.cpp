#include "exec/comm/algorithms.hpp"

namespace moesim {

Schedule all_to_all_schedule(ExchangeAlgorithm algorithm, const CommGroup& group, const ConstBlocks& send,
                             const Blocks& receive, const ExchangeMap& map) {
  switch (algorithm) {
    case ExchangeAlgorithm::kLinear: break;
    case ExchangeAlgorithm::kPairwise: return pairwise_all_to_all(group, send, receive);
    case ExchangeAlgorithm::kOneLevel: return one_level_all_to_all(group, send, receive, map);
    case ExchangeAlgorithm::kTwoLevel: return two_level_all_to_all(group, send, receive, map);
    case ExchangeAlgorithm::kPipe: return pipe_all_to_all(group, send, receive, map.places);
  }
  return linear_all_to_all(group, send, receive);
}

bool relays(ExchangeAlgorithm algorithm) {
  return algorithm == ExchangeAlgorithm::kOneLevel || algorithm == ExchangeAlgorithm::kTwoLevel;
}

}  // namespace moesim
