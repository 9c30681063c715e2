#include "models/cost/closed/fsmoe.hpp"

namespace moesim {

FsMoeTime fsmoe_time(const FsMoeLayer& layer, int degree) {
  const double r = degree;
  const Seconds exchange = layer.exchange.at(layer.exchanged.value() / r);
  const Seconds inside =
      layer.gather.at(layer.gathered.value() / r) + layer.reduce_scatter.at(layer.gathered.value() / r);
  const Seconds experts = layer.experts.at(layer.multiply_adds / r);
  FsMoeTime longest{FsMoeCase::kInterBound, 2 * r * exchange + layer.gradients};
  const auto consider = [&](FsMoeCase bound, Seconds time) {
    if (time > longest.time) longest = {bound, time};
  };
  consider(FsMoeCase::kExpertsBound, 2 * exchange + inside + r * experts);
  consider(FsMoeCase::kExchangeBound, 2 * r * exchange + inside);
  consider(FsMoeCase::kIntraBound, 2 * exchange + r * inside);
  return longest;
}

BestDegree fsmoe_best(const FsMoeLayer& layer, int most) {
  BestDegree best{1, fsmoe_time(layer, 1).time};
  for (int degree = 2; degree <= most; ++degree)
    if (const Seconds time = fsmoe_time(layer, degree).time; time < best.time) best = {degree, time};
  return best;
}

}  // namespace moesim
