#include "models/cost/flows/flow_loads.hpp"

#include "models/cost/flows/cluster_flows.hpp"

namespace moesim {

ExchangeLoad FlowLoads::of(const GroupTopology& group, const ByteMatrix& units) const {
  ExchangeLoad load = PortLoads().of(group, units);
  ClusterFlows flows(group.view(), links_);
  flows.apply_efficiency(parameters_);
  flows.share_with_cluster(group.ranks());
  flows.add_exchange(group.ranks(), units, Seconds(0));
  load.flow_seconds = flows.play().end.value();
  return load;
}

ExchangeLoad FlowLoads::of(const GroupTopology& group, std::span<const ExchangeMessage> messages) const {
  ExchangeLoad load = PortLoads().of(group, messages);
  ClusterFlows flows(group.view(), links_);
  flows.apply_efficiency(parameters_);
  flows.share_with_cluster(group.ranks());
  for (const ExchangeMessage& message : messages)
    flows.add_message(group.ranks()[static_cast<std::size_t>(message.from)],
                      group.ranks()[static_cast<std::size_t>(message.to)], Bytes(message.units), Seconds(0));
  load.flow_seconds = flows.play().end.value();
  return load;
}

}  // namespace moesim
