#include "models/cost/exchange/algorithm.hpp"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "base/text.hpp"

namespace moesim {
namespace {

constexpr std::array kExchangeAlgorithms = {ExchangeAlgorithm::kLinear, ExchangeAlgorithm::kPairwise,
                                            ExchangeAlgorithm::kOneLevel, ExchangeAlgorithm::kTwoLevel,
                                            ExchangeAlgorithm::kPipe};

}  // namespace

std::span<const ExchangeAlgorithm> exchange_algorithms() { return kExchangeAlgorithms; }

std::string_view exchange_algorithm_name(ExchangeAlgorithm algorithm) {
  switch (algorithm) {
    case ExchangeAlgorithm::kLinear: return "linear";
    case ExchangeAlgorithm::kPairwise: return "pairwise";
    case ExchangeAlgorithm::kOneLevel: return "1dh";
    case ExchangeAlgorithm::kTwoLevel: return "2dh";
    case ExchangeAlgorithm::kPipe: return "pipe";
  }
  return "?";
}

std::vector<std::string> exchange_algorithm_names() {
  std::vector<std::string> names;
  for (const ExchangeAlgorithm algorithm : kExchangeAlgorithms) names.emplace_back(exchange_algorithm_name(algorithm));
  return names;
}

Result<ExchangeAlgorithm> find_exchange_algorithm(std::string_view name) {
  for (const ExchangeAlgorithm algorithm : kExchangeAlgorithms)
    if (exchange_algorithm_name(algorithm) == name) return algorithm;
  const std::vector<std::string> names = exchange_algorithm_names();
  return invalid_input(fmt::format("unknown all-to-all algorithm '{}'{}", name, did_you_mean(std::string(name), names)),
                       {}, fmt::format("one of {}", fmt::join(names, ", ")));
}

}  // namespace moesim
