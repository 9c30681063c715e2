#include "models/cost/exchange/exchange_laws.hpp"

#include "base/error.hpp"

namespace moesim {

const ExchangeLaw& exchange_law(ExchangeAlgorithm algorithm) {
  switch (algorithm) {
    case ExchangeAlgorithm::kLinear: return linear_exchange();
    case ExchangeAlgorithm::kPairwise: return pairwise_exchange();
    case ExchangeAlgorithm::kOneLevel: return one_level_exchange();
    case ExchangeAlgorithm::kTwoLevel: return two_level_exchange();
    case ExchangeAlgorithm::kPipe: return pipe_exchange();
  }
  return linear_exchange();
}

}  // namespace moesim
