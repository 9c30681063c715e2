// pairwise: n-1 rounds, in round d every rank sends d places on and receives from d places back.
//
//   T = base + sum over rounds of (step + flight + busiest port of the round)
//
// A round waits for its slowest pair, as if all ranks began it together; ranks that are not held up begin earlier, so that uneven
// matrices are bounded from above. Example, 2 nodes of 2 over 10 GB/s NICs, 100 GB/s inside, 1 GB to each: rounds 1 and 3 have
// pairs across (0.1 s each), round 2 has nothing else (0.1 s): 0.3 s, where linear shares the 2 GB of a NIC in 0.2 s.
#include "models/cost/exchange/exchange_laws.hpp"

namespace moesim {
namespace {

class PairwiseExchange final : public ExchangeLaw {
 public:
  ExchangeWork work(const GroupTopology& group, const ByteMatrix& units, const PhaseLoads& loads) const override {
    ExchangeWork work{.algorithm = ExchangeAlgorithm::kPairwise};
    const int n = group.size();
    std::vector<ExchangeMessage> messages;
    for (int distance = 1; distance < n; ++distance) {
      messages.clear();
      for (int from = 0; from < n; ++from) {
        const int to = (from + distance) % n;
        messages.push_back({from, to, units.at(from, to)});
      }
      work.phases.push_back(round_of(group, messages, loads));
    }
    return work;
  }
};

}  // namespace

const ExchangeLaw& pairwise_exchange() {
  static const PairwiseExchange law;
  return law;
}

}  // namespace moesim
