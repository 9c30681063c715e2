// What no placement can beat, with these slots and these counts: the oracle of every comparison.
//
// Computation: the mean of all devices, and of all busy experts. Exchange: a device keeps at most the tokens for its `slots` busiest
// experts (by its own counts), a domain of the outermost tier those for as many experts as it has slots; the rest leaves through all
// ports that it has, evenly. Shadowing k experts is like k more slots everywhere, for its price; the best k counts. No switch costs
// anything. Nobody need be able to reach it.
// Worked, 2 devices of one slot, 2 experts, counts {{5, 3}, {4, 6}}, 1 s a row, 1 B a copy, 1 s/B, four exchanges: 9 + 4 * 4 = 25 s
// (device 0 sends at least 3 copies, device 1 four).
#pragma once

#include <vector>

#include "sim/placement/layer_time.hpp"

namespace moesim {

class OracleTimer {
 public:
  // `model` must outlive it.
  OracleTimer(const LayerTimeModel& model, int slots_per_device);
  [[nodiscard]] Seconds time(const RecordedCounts& counts);

 private:
  struct Domain {  // one device, or those that stand on one side of the outermost tier
    std::vector<int> devices;
    double bytes_per_s = 0;    // out, of all ports that it has
    std::vector<double> kept;  // [n - 1]: its own copies for its n busiest experts; of the last counts
  };
  void add_domain(std::vector<int> devices, int first_meeting_tier);
  void prepare(Domain& domain, const RecordedCounts& counts);
  [[nodiscard]] double port_seconds(const Domain& domain, std::size_t shadowed) const;

  const LayerTimeModel* model_;
  int slots_per_device_;
  std::vector<Domain> domains_;
};

}  // namespace moesim
