// Hockney's model of one operation, alpha + beta * amount, as the papers on MoE schedules fit it for each collective and each
// matrix product: the primitive of every closed form in this folder.
//
// `amount` is in the unit that beta was fitted in: bytes of the buffer for collectives (models/cost/collective.hpp says of
// which), multiply-adds for products. Worked: alpha 0.175 ms, beta 3.06e-10 s/B: 16 MiB take 0.175 + 5.134 = 5.309 ms.
#pragma once

#include "base/units.hpp"

namespace moesim {

struct LinearTime {
  Seconds alpha;
  double s_per_unit = 0;
  [[nodiscard]] Seconds at(double amount) const { return Seconds(alpha.value() + s_per_unit * amount); }
  // Of `parts` operations one after the other that share the amount evenly.
  [[nodiscard]] Seconds in_parts(double amount, double parts) const {
    return Seconds(parts * alpha.value() + s_per_unit * amount);
  }
};

}  // namespace moesim
