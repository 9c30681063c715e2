// pipe (ScheMoE's Pipe-A2A): the rounds inside the node on one stream, those across on another.
//
//   T = base + max(sum of the rounds inside, sum of the rounds across, busiest port over both)
//
// With equal messages that is max(G t1, (P - G) t2) of the paper, G ranks on a node of P in all, less the rank's own block. Example,
// 2 nodes of 2 over 10 GB/s NICs, 100 GB/s inside, 1 GB to each: one round of 10 ms inside, beside it two of 0.1 s across. The law of
// linear lets the tiers work side by side as well; what pipe saves there is the steps of the peers inside.
#include "models/cost/exchange/exchange_laws.hpp"

namespace moesim {
namespace {

class PipeExchange final : public ExchangeLaw {
 public:
  ExchangeWork work(const GroupTopology& group, const ByteMatrix& units, const PhaseLoads& loads) const override {
    ExchangeWork work{.algorithm = ExchangeAlgorithm::kPipe};
    const NodePlaces places = node_places_of(group);
    std::vector<ExchangeMessage> messages;
    const auto add_stream = [&](const std::vector<NodeRound>& rounds, int stream) {
      for (const NodeRound round : rounds) {
        messages.clear();
        for (int from = 0; from < group.size(); ++from)
          if (const int to = receiver_in(places, round, from); to >= 0)
            messages.push_back({from, to, units.at(from, to)});
        work.phases.push_back(round_of(group, messages, loads));
        work.phases.back().stream = stream;
      }
    };
    add_stream(rounds_inside(places), 0);
    add_stream(rounds_across(places), 1);
    return work;
  }
};

}  // namespace

const ExchangeLaw& pipe_exchange() {
  static const PipeExchange law;
  return law;
}

}  // namespace moesim
