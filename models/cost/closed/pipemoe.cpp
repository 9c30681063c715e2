#include "models/cost/closed/pipemoe.hpp"

#include <algorithm>

namespace moesim {

Seconds pipemoe_time(const PipeMoeLayer& layer, int degree) {
  const double r = degree;
  const double bytes = layer.dispatched.value();
  if (degree <= 1) return 2 * layer.exchange.at(bytes) + layer.experts.at(layer.multiply_adds);
  const Seconds exchanges_bound = 2 * layer.exchange.in_parts(bytes, r);
  const Seconds experts_bound = 2 * layer.exchange.at(bytes / r) + layer.experts.in_parts(layer.multiply_adds, r);
  return std::max(exchanges_bound, experts_bound);
}

BestDegree pipemoe_best(const PipeMoeLayer& layer, int most) {
  BestDegree best{1, pipemoe_time(layer, 1)};
  for (int degree = 2; degree <= most; ++degree)
    if (const Seconds time = pipemoe_time(layer, degree); time < best.time) best = {degree, time};
  return best;
}

}  // namespace moesim
