// 1dh (HetuMoE): what goes to other nodes is gathered at the first rank of the node, these ranks exchange, and hand on.
//
//   T = base + gather inside + [copy] + exchange of the leaders + [copy] + scatter inside
//
// Made for nodes with one NIC: N-1 messages of all G x G blocks for each node. With a NIC per rank all but one stand idle. Blocks
// for the own node go straight in the first phase. Example, 2 nodes of 2 with 1 GB to each, 100 GB/s inside and a NIC of 10 GB/s
// per rank: the leader sends 4 GB, 0.4 s, where linear needs 0.2 s.
#include "models/cost/exchange/exchange_laws.hpp"

#include <algorithm>

namespace moesim {
namespace {

class OneLevelExchange final : public ExchangeLaw {
 public:
  ExchangeWork work(const GroupTopology& group, const ByteMatrix& units, const PhaseLoads& loads) const override {
    const NodePlaces places = node_places_of(group);
    const int n = group.size();
    const auto members = static_cast<std::size_t>(n);
    std::vector<std::int64_t> gather(members * members, 0);
    std::vector<std::int64_t> across(members * members, 0);
    std::vector<std::int64_t> scatter(members * members, 0);
    std::vector<std::int64_t> leaves(members, 0);  // through a leader
    std::vector<std::int64_t> arrives(members, 0);
    std::vector<std::vector<std::int32_t>> near(members);
    std::vector<std::vector<std::int32_t>> far(members);
    std::vector<std::vector<std::int32_t>> below(members);
    const auto cell = [n](int from, int to) {
      return static_cast<std::size_t>(from) * static_cast<std::size_t>(n) + static_cast<std::size_t>(to);
    };
    for (int from = 0; from < n; ++from) {
      const int leader = leader_of(places, from);
      for (const std::int32_t other : places.neighbours(from)) {
        if (other == from) continue;
        near[static_cast<std::size_t>(from)].push_back(other);
        if (leader == from) below[static_cast<std::size_t>(from)].push_back(other);
      }
      if (leader == from)
        for (const auto& node : places.members)
          if (node.front() != from) far[static_cast<std::size_t>(from)].push_back(node.front());
      for (int to = 0; to < n; ++to) {
        const std::int64_t units_here = units.at(from, to);
        if (places.together(from, to)) {
          gather[cell(from, to)] += units_here;
          continue;
        }
        const int remote = leader_of(places, to);
        gather[cell(from, leader)] += units_here;
        across[cell(leader, remote)] += units_here;
        scatter[cell(remote, to)] += units_here;
        leaves[static_cast<std::size_t>(leader)] += units_here;
        arrives[static_cast<std::size_t>(remote)] += units_here;
      }
    }
    ExchangeWork work{.algorithm = ExchangeAlgorithm::kOneLevel};
    work.phases.push_back(phase_of(group, {gather, n}, loads, near));
    if (places.members.size() == 1) return work;
    work.phases.push_back(phase_of(group, {across, n}, loads, far));
    work.phases.back().copied = static_cast<double>(*std::max_element(leaves.begin(), leaves.end()));
    work.phases.push_back(phase_of(group, {scatter, n}, loads, below));
    work.phases.back().copied = static_cast<double>(*std::max_element(arrives.begin(), arrives.end()));
    return work;
  }
};

}  // namespace

const ExchangeLaw& one_level_exchange() {
  static const OneLevelExchange law;
  return law;
}

}  // namespace moesim
