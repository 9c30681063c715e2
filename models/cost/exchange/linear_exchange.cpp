// linear: all messages at once, one step per peer. Equals all_to_all_v_law.hpp, which prices it.
#include "models/cost/exchange/exchange_laws.hpp"

namespace moesim {
namespace {

class LinearExchange final : public ExchangeLaw {
 public:
  ExchangeWork work(const GroupTopology& group, const ByteMatrix& units, const PhaseLoads& loads) const override {
    ExchangeWork work{.algorithm = ExchangeAlgorithm::kLinear};
    ExchangePhase phase;
    phase.load = loads.of(group, units);
    for (int t = 0; t < group.tiers(); ++t) phase.steps[static_cast<std::size_t>(t)] = group.peers(t);
    phase.outermost = group.outermost_tier();
    work.phases.push_back(phase);
    return work;
  }
};

}  // namespace

const ExchangeLaw& linear_exchange() {
  static const LinearExchange law;
  return law;
}

}  // namespace moesim
