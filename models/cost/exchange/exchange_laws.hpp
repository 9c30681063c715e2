// The law of each algorithm, one file each.
#pragma once

#include "models/cost/exchange/exchange_law.hpp"

namespace moesim {

[[nodiscard]] const ExchangeLaw& linear_exchange();
[[nodiscard]] const ExchangeLaw& pairwise_exchange();
[[nodiscard]] const ExchangeLaw& one_level_exchange();
[[nodiscard]] const ExchangeLaw& two_level_exchange();
[[nodiscard]] const ExchangeLaw& pipe_exchange();

}  // namespace moesim
