#include <cstddef>

#include "exec/compute/routing_args.hpp"

namespace moesim {

double balance_loss(float coefficient, std::int64_t tokens, std::int64_t top_k, std::span<const float> chosen,
                    std::span<const float> shares) {
  if (tokens == 0) return 0.0;
  double sum = 0.0;
  for (std::size_t e = 0; e < chosen.size(); ++e)
    sum += static_cast<double>(chosen[e]) * static_cast<double>(shares[e]);
  const double all = static_cast<double>(tokens);
  return static_cast<double>(coefficient) * static_cast<double>(chosen.size()) * sum /
         (all * static_cast<double>(top_k) * all);
}

}  // namespace moesim
