// The flows regime of exchange laws: a phase lasts until the last of its flows has ended, instead of as long as its busiest port is
// busy. Bytes, port shares and latencies stay those of the law.
//
// The group has of each link what is its own when all of the cluster's ranks are equally busy, and each link gives the share of its
// rate that the law's efficiency for its class says; so a uniform exchange behind one switch costs what the law says.
// Example, the cluster of exchange_law.hpp: 0.2 s by ports and by flows. With 2 GB from rank 0 to each of the other node and nothing
// else, both 0.4 s; where a link inside the node is the narrower one on the way only the flows know.
#pragma once

#include "models/cluster/link_paths.hpp"
#include "models/cost/exchange/exchange_law.hpp"

namespace moesim {

class FlowLoads final : public PhaseLoads {
 public:
  // Both must outlive it.
  FlowLoads(const LinkPaths& links, const LawParameters& parameters) : links_(links), parameters_(parameters) {}
  [[nodiscard]] ExchangeLoad of(const GroupTopology& group, const ByteMatrix& units) const override;
  [[nodiscard]] ExchangeLoad of(const GroupTopology& group, std::span<const ExchangeMessage> messages) const override;

 private:
  const LinkPaths& links_;
  const LawParameters& parameters_;
};

}  // namespace moesim
