// What no placement can beat, with these slots and these counts: the oracle of every comparison.
//
// Computation: the mean of all devices, and of all busy experts; where slots have no room for copies no less than the hottest expert. Exchange: a device keeps at most the tokens for its `slots` busiest
// experts (by its own counts), a domain of the outermost tier those for as many experts as it has slots; the rest leaves through all
// ports that it has, evenly. Shadowing k experts is like k more slots everywhere, for its price; the best k counts. No switch costs
// anything. Nobody need be able to reach it.
// Worked, 2 devices of one slot, 2 experts, counts {{5, 3}, {4, 6}}, 1 s a row, 1 B a copy, 1 s/B, four exchanges: 9 + 4 * 4 = 25 s
// (device 0 sends at least 3 copies, device 1 four).
//
// Where a token is sent once to each node (token_exchange.hpp) the messages of a token join its source to all devices that it visits.
// So at least one leaves each domain that cannot keep all of its experts; over all domains of the outermost tier as many cross it as
// domains are visited besides its own; and over all devices as many are sent as devices are visited besides the source. How few those
// are whatever the permutation tells token_floor.hpp; the ports of a domain, or of all, share them evenly at best. Of k shadowed experts
// nothing is sent: k more experts for each domain, and no visits for as many copies as the k busiest have.
// Worked, 2 devices of 2 slots, each with 5 tokens {0, 1} and 5 {2, 3}, 1 B, 1 s/B: a device keeps at most 5 of its 10, 5 leave: 5 s an exchange.
#pragma once

#include <vector>

#include "sim/placement/layer_time.hpp"
#include "sim/placement/token_floor.hpp"

namespace moesim {

// What the bounds know of a layer's tokens.
struct TokenNeeds {
  std::size_t rows = 0;  // of the sample
  int top_k = 0;
  NamedExperts all;
  std::vector<NamedExperts> of_domain;
  double outermost = 0;  // messages across the outermost tier, all together; nothing shadowed
  double sent = 0;       // messages of all devices together
};

class OracleTimer {
 public:
  // `model` must outlive it.
  OracleTimer(const LayerTimeModel& model, int slots_per_device);
  [[nodiscard]] Seconds time(const RecordedCounts& counts);
  // The same where tokens are sent once; those of `needs` are routed as the counts are.
  [[nodiscard]] Seconds time(const RecordedCounts& counts, const TokenNeeds& needs) const;
  [[nodiscard]] TokenNeeds needs_of(const TokenSet& tokens, int experts) const;

 private:
  struct Domain {  // one device, or those that stand on one side of the outermost tier
    std::vector<int> devices;
    double bytes_per_s = 0;    // out, of all ports that it has
    std::vector<double> kept;  // [n - 1]: its own copies for its n busiest experts; of the last counts
  };
  void add_domain(std::vector<int> devices, int first_meeting_tier);
  [[nodiscard]] double ports_of(const std::vector<int>& devices, int first_meeting_tier) const;
  void prepare(Domain& domain, const RecordedCounts& counts);
  [[nodiscard]] std::size_t slots_of(const Domain& domain) const {
    return domain.devices.size() * static_cast<std::size_t>(slots_per_device_);
  }
  [[nodiscard]] double port_seconds(const Domain& domain, std::size_t shadowed) const;
  [[nodiscard]] double token_port_seconds(const TokenNeeds& needs, std::size_t shadowed) const;
  // The least over numbers of shadowed experts; `port(k)`: seconds of the busiest port for k of them, in one exchange.
  template <class Port>
  [[nodiscard]] Seconds least(const RecordedCounts& counts, const Port& port) const;

  const LayerTimeModel* model_;
  int slots_per_device_;
  std::vector<Domain> domains_;       // devices, then sides of the outermost tier if there are several tiers
  double device_bytes_per_s_ = 0;     // of all devices together, on any tier
  double outermost_bytes_per_s_ = 0;  // and across the outermost one
};

}  // namespace moesim
