// 2dh (Tutel; BaGuaLu): inside the node to the rank that has the receiver's place, then across between ranks of equal place.
//
//   T = base + [copy S] + exchange inside of S (n/N blocks merged per message) + [copy] + exchange across of S (N-1)/N
//
// The first copy gathers, for each place, the blocks of all nodes (the stride copy), the second sorts what arrived by node. What
// crosses between nodes is what linear sends across, byte for byte, in messages G times as large: with S bytes from every rank and
// n = N G ranks each of the N-1 messages has S G / n instead of S / n. Every byte for another node that changes its rank also
// crosses the inside. On one node nothing is merged or copied: 2dh is linear.
#include "models/cost/exchange/exchange_laws.hpp"

#include <algorithm>

namespace moesim {
namespace {

class TwoLevelExchange final : public ExchangeLaw {
 public:
  ExchangeWork work(const GroupTopology& group, const ByteMatrix& units, const PhaseLoads& loads) const override {
    const NodePlaces places = node_places_of(group);
    const int n = group.size();
    const auto cells = static_cast<std::size_t>(n) * static_cast<std::size_t>(n);
    std::vector<std::int64_t> inside(cells, 0);
    std::vector<std::int64_t> across(cells, 0);
    std::vector<std::int64_t> gathered(static_cast<std::size_t>(n), 0);  // put together before the first phase,
    std::vector<std::int64_t> sorted(static_cast<std::size_t>(n), 0);    // and before the second
    std::vector<std::vector<std::int32_t>> near(static_cast<std::size_t>(n));
    std::vector<std::vector<std::int32_t>> far(static_cast<std::size_t>(n));
    const auto cell = [n](int from, int to) {
      return static_cast<std::size_t>(from) * static_cast<std::size_t>(n) + static_cast<std::size_t>(to);
    };
    for (int from = 0; from < n; ++from) {
      for (const std::int32_t other : places.neighbours(from))
        if (other != from) near[static_cast<std::size_t>(from)].push_back(other);
      for (int to = 0; to < n; ++to) {
        const int relay = relay_of(places, from, to);
        const std::int64_t units_here = units.at(from, to);
        if (to != from) gathered[static_cast<std::size_t>(from)] += units_here;
        inside[cell(from, relay)] += units_here;
        if (places.together(from, to)) continue;
        across[cell(relay, to)] += units_here;
        sorted[static_cast<std::size_t>(relay)] += units_here;
        if (relay == from) far[static_cast<std::size_t>(from)].push_back(to);
      }
    }
    ExchangeWork work{.algorithm = ExchangeAlgorithm::kTwoLevel};
    work.phases.push_back(phase_of(group, {inside, n}, loads, near));
    if (places.members.size() == 1) return work;
    work.phases.back().copied = static_cast<double>(*std::max_element(gathered.begin(), gathered.end()));
    work.phases.push_back(phase_of(group, {across, n}, loads, far));
    work.phases.back().copied = static_cast<double>(*std::max_element(sorted.begin(), sorted.end()));
    return work;
  }
};

}  // namespace

const ExchangeLaw& two_level_exchange() {
  static const TwoLevelExchange law;
  return law;
}

}  // namespace moesim
