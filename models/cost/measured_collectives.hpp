// Collectives that were measured by size in a group that lies like the one asked for.
//
// The measured time replaces the law's; what each port is used for stays the law's, over the measured time. An exchange
// with uneven bytes takes as long as the even one whose busiest port carries as much (all_to_all_v_law.hpp); one in phases as
// long as the even one by the same algorithm whose bytes take the law as long (exchange/exchange_law.hpp).
#pragma once

#include "models/cost/cost.hpp"
#include "models/cost/measured_laws.hpp"

namespace moesim {

// Null: not measured. kAuto takes whatever algorithm was measured.
[[nodiscard]] const CollectiveSeries* find_series(const MeasuredLaws& measured, CollectiveKind kind,
                                                  const GroupShape& shape, CollectiveAlgorithm algorithm);
// Of an all-to-all by this algorithm.
[[nodiscard]] const CollectiveSeries* find_exchange_series(const MeasuredLaws& measured, const GroupShape& shape,
                                                           ExchangeAlgorithm exchange);
void take_measured_time(CommCost& cost, const CollectiveSeries& series, double bytes);

}  // namespace moesim
