// Exchanges and messages as flows over the links of a cluster, several at once: what one busiest port cannot say, such as skewed
// matrices (a rank that has sent all leaves its links to the others), ranks behind one NIC, two collectives on one link, a
// message striped over several links.
//
// Flows that cannot differ are played as one batch: links are coloured by capacity and by what crosses them, flows by size, start
// and the colours of their links, until no colour splits any more (colour refinement, 1-dimensional Weisfeiler-Leman, on
// 64-bit hashes); links of one colour then carry as many flows of each colour and all flows of one colour have one rate at all
// times. A uniform all-to-all over 1024 ranks behind one switch, a million flows, is one batch and one event. With more than kMostExact
// batches ends within kWindow of the least possible time fall together (fluid.hpp).
// Example, 3 ranks behind a switch of 10 GB/s: 0 sends 1 GB to 1 and to 2, 1 sends 1 GB to 2. At 5 GB/s each, all end at 0.2 s.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <tuple>
#include <vector>

#include "base/units.hpp"
#include "models/cluster/cluster_view.hpp"
#include "models/cluster/link_paths.hpp"
#include "models/cost/cost_model.hpp"
#include "models/cost/law_parameters.hpp"

namespace moesim {

class ClusterFlows {
 public:
  static constexpr std::int32_t kMostExact = 1024;
  static constexpr double kWindow = 1e-3;

  // Both must outlive it. Capacities are the links' rates as they are.
  ClusterFlows(const ClusterView& view, const LinkPaths& links);

  // The share of a link's rate that flows reach, by its class; before flows are added.
  void apply_efficiency(const LawParameters& parameters);
  // Leaves these ranks what is theirs of each link when all ranks of the cluster are equally busy: members / users.
  void share_with_cluster(std::span<const RankId> ranks);

  // Each returns the number of the exchange whose end is asked for. The diagonal stays on its rank.
  std::int32_t add_exchange(std::span<const RankId> ranks, const ByteMatrix& bytes, Seconds start);
  std::int32_t add_message(RankId from, RankId to, Bytes bytes, Seconds start);
  // One message cut into parts that take the ways over these levels (link_paths.hpp) side by side; it ends with the last part.
  struct Stripe {
    int level = 0;
    double share = 0;
  };
  std::int32_t add_striped(RankId from, RankId to, Bytes bytes, std::span<const Stripe> stripes, Seconds start);

  struct Outcome {
    std::vector<Seconds> ends;  // by exchange; its start where nothing moved
    Seconds end;
    std::int64_t flows = 0;
    std::int32_t batches = 0;
    std::int64_t events = 0;
  };
  [[nodiscard]] Outcome play() const;

 private:
  struct Flow {
    std::int32_t out;  // level * ranks + rank: whose path outwards,
    std::int32_t in;   // and inwards
    std::int32_t exchange;
    std::int32_t pair;  // the direct link of a mesh between the two, numbered behind the others; -1: none
    double bytes;
  };
  struct Colours;
  [[nodiscard]] std::int32_t new_exchange(Seconds start);
  [[nodiscard]] int level_of(RankId from, RankId to) const;
  void add_flow(int level, RankId from, RankId to, double bytes, std::int32_t exchange);
  [[nodiscard]] Colours refined() const;
  // Links of the paths, both directions: 2 * link outwards, 2 * link + 1 inwards.
  template <class Visit>
  void visit_links(const Flow& flow, const Visit& visit) const;
  [[nodiscard]] std::int32_t pair_link(int level, RankId from, RankId to);

  const ClusterView& view_;
  const LinkPaths& links_;
  std::vector<double> capacity_;  // by directed link
  std::map<std::tuple<int, RankId, RankId>, std::int32_t> pair_links_;
  std::vector<double> efficiency_of_tier_;
  std::vector<Flow> flows_;
  std::vector<double> starts_;  // by exchange
};

}  // namespace moesim
