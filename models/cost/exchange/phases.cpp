// What the exchange laws share: loads of phases, rounds, and the time of phases put together.
#include <algorithm>

#include "base/error.hpp"
#include "models/cost/all_to_all_v_law.hpp"
#include "models/cost/exchange/exchange_law.hpp"
#include "models/cost/memory_law.hpp"

namespace moesim {
namespace {

// Every phase crosses the tier as one operation with all ports of the group.
struct PhaseTime {
  CommCost cost;  // without the base
  PortTimes ports;
};

PortTimes port_times(const GroupTopology& group, const LawParameters& parameters, const ExchangeLoad& load,
                     Bytes unit) {
  PortTimes ports;
  for (int t = 0; t < group.tiers(); ++t) {
    const auto index = static_cast<std::size_t>(t);
    const double share = parameters.link(group.view().tier(t).link).all_to_all_efficiency;
    ports.seconds[index] = load.port_seconds[index] * unit.value() / share;
    if (ports.seconds[index] > ports.longest) ports.longest = ports.seconds[index], ports.bottleneck = t;
  }
  if (load.flow_seconds > 0) ports.longest = load.flow_seconds * unit.value();
  return ports;
}

PhaseTime phase_time(const GroupTopology& group, const LawParameters& parameters, const ExchangePhase& phase,
                     Bytes unit) {
  PhaseTime time;
  TierBytes bytes{};
  time.ports = port_times(group, parameters, phase.load, unit);
  for (std::size_t t = 0; t < bytes.size(); ++t) bytes[t] = phase.load.busiest_rank[t] * unit.value();
  double fixed = 0;
  for (int t = 0; t < group.tiers(); ++t) {
    const int steps = phase.steps[static_cast<std::size_t>(t)];
    fixed += steps * parameters.link(group.view().tier(t).link).peer_step.value();
  }
  if (phase.outermost >= 0) fixed += group.view().tier(phase.outermost).latency.value();
  if (phase.copied > 0) {
    const MemoryMachine machine = memory_machine(group.view().device(group.ranks().front()), parameters.memory);
    const Bytes copied = round_up_to_bytes(phase.copied * unit.value());
    fixed += memory_cost(machine, {.kernel = MemoryKernel::kCopy, .read = copied, .written = copied}).time.value();
  }
  time.cost = finish(group, parameters, time.ports, bytes, {.fixed = fixed});
  return time;
}

// Of the bytes alone: the longest stream, or the busiest port over all phases. Units of one byte.
double transfer_seconds(const GroupTopology& group, const LawParameters& parameters, const ExchangeWork& work) {
  std::array<double, ExchangeWork::kStreams> streams{};
  PortTimes all;
  for (const ExchangePhase& phase : work.phases) {
    const PortTimes ports = port_times(group, parameters, phase.load, Bytes(1));
    streams[static_cast<std::size_t>(phase.stream)] += ports.longest;
    for (std::size_t t = 0; t < all.seconds.size(); ++t) all.seconds[t] += ports.seconds[t];
  }
  return std::max(*std::max_element(streams.begin(), streams.end()),
                  *std::max_element(all.seconds.begin(), all.seconds.end()));
}

}  // namespace

NodePlaces node_places_of(const GroupTopology& group) {
  std::vector<std::int32_t> nodes;
  for (const RankId rank : group.ranks()) nodes.push_back(group.view().node(rank).value());
  return node_places(nodes);
}

int meeting_tier(const GroupTopology& group, int a, int b) {
  if (a == b) return -1;
  for (int t = 0; t < group.tiers(); ++t) {
    const auto groups = group.groups_at(t);
    if (groups[static_cast<std::size_t>(a)] == groups[static_cast<std::size_t>(b)]) return t;
  }
  return -1;
}

ExchangeLoad PortLoads::of(const GroupTopology& group, const ByteMatrix& units) const {
  return exchange_load(group, units);
}

ExchangeLoad PortLoads::of(const GroupTopology& group, std::span<const ExchangeMessage> messages) const {
  ExchangeLoad load;
  const auto n = static_cast<std::size_t>(group.size());
  std::array<std::vector<double>, kMaxTiers> out;
  std::array<std::vector<double>, kMaxTiers> in;
  std::array<std::vector<double>, kMaxTiers> sent;
  for (int t = 0; t < group.tiers(); ++t) {
    const auto index = static_cast<std::size_t>(t);
    out[index].assign(group.port_rates(t).size(), 0);
    in[index].assign(group.port_rates(t).size(), 0);
    sent[index].assign(n, 0);
  }
  for (const ExchangeMessage& message : messages) {
    const int t = meeting_tier(group, message.from, message.to);
    if (t < 0) continue;
    const auto met = static_cast<std::size_t>(t);
    const Tier& tier = group.view().tier(t);
    const auto units = static_cast<double>(message.units);
    const auto from = static_cast<std::size_t>(message.from);
    load.busiest_rank[met] = std::max(load.busiest_rank[met], sent[met][from] += units);
    if (tier.mesh) load.port_seconds[met] = std::max(load.port_seconds[met], units / tier.pair_limit.value());
    for (int p = tier.first_port_tier; p <= t; ++p) {
      const auto index = static_cast<std::size_t>(p);
      const auto ports = group.ports_at(p);
      const auto port_out = static_cast<std::size_t>(ports[from]);
      const auto port_in = static_cast<std::size_t>(ports[static_cast<std::size_t>(message.to)]);
      out[index][port_out] += units;
      in[index][port_in] += units;
      const auto rates = group.port_rates(p);
      load.port_seconds[index] = std::max({load.port_seconds[index], out[index][port_out] / rates[port_out].out.value(),
                                           in[index][port_in] / rates[port_in].in.value()});
    }
  }
  return load;
}

ExchangePhase phase_of(const GroupTopology& group, const ByteMatrix& units, const PhaseLoads& loads,
                       const std::vector<std::vector<std::int32_t>>& partners) {
  ExchangePhase phase;
  phase.load = loads.of(group, units);
  for (int i = 0; i < group.size(); ++i) {
    std::array<int, kMaxTiers> steps{};
    for (const std::int32_t partner : partners[static_cast<std::size_t>(i)]) {
      const int t = meeting_tier(group, i, partner);
      if (t < 0) continue;
      ++steps[static_cast<std::size_t>(t)];
      phase.outermost = std::max(phase.outermost, t);
    }
    for (std::size_t t = 0; t < steps.size(); ++t) phase.steps[t] = std::max(phase.steps[t], steps[t]);
  }
  return phase;
}

ExchangePhase round_of(const GroupTopology& group, std::span<const ExchangeMessage> messages, const PhaseLoads& loads) {
  ExchangePhase round;
  round.load = loads.of(group, messages);
  for (const ExchangeMessage& message : messages)
    round.outermost = std::max(round.outermost, meeting_tier(group, message.from, message.to));
  if (round.outermost >= 0) round.steps[static_cast<std::size_t>(round.outermost)] = 1;
  return round;
}

CommCost exchange_cost(const GroupTopology& group, const LawParameters& parameters, const ExchangeWork& work,
                       Bytes unit) {
  if (work.algorithm == ExchangeAlgorithm::kLinear)
    return all_to_all_v_cost(group, parameters, work.phases.front().load, unit);
  std::array<double, ExchangeWork::kStreams> streams{};
  std::array<double, kMaxTiers> ports{};  // busy seconds of the busiest port of each tier, all phases together
  CommCost cost;
  for (const ExchangePhase& phase : work.phases) {
    const PhaseTime time = phase_time(group, parameters, phase, unit);
    streams[static_cast<std::size_t>(phase.stream)] += time.cost.time.value();
    for (int t = 0; t < group.tiers(); ++t) {
      const auto index = static_cast<std::size_t>(t);
      ports[index] += static_cast<double>(time.cost.port_share[index]) * time.cost.time.value();
      cost.busiest_rank_bytes[index] += time.cost.busiest_rank_bytes[index];
    }
  }
  double longest = *std::max_element(streams.begin(), streams.end());
  double port = 0;
  for (int t = 0; t < group.tiers(); ++t) {
    const double seconds = ports[static_cast<std::size_t>(t)] * group.port_sharers(t);
    longest = std::max(longest, seconds);
    port = std::max(port, seconds);
  }
  const double total = parameters.collective.base.value() + longest;
  cost.time = Seconds(total);
  cost.bound = 2 * port >= total ? Bound::kNetwork : Bound::kLatency;
  if (total > 0)
    for (int t = 0; t < group.tiers(); ++t)
      cost.port_share[static_cast<std::size_t>(t)] = static_cast<float>(ports[static_cast<std::size_t>(t)] / total);
  return cost;
}

Bytes even_exchange_as_long(const GroupTopology& group, const LawParameters& parameters, const ExchangeWork& work,
                            Bytes unit) {
  const auto n = static_cast<std::size_t>(group.size());
  const std::vector<std::int64_t> one_to_each(n * n, 1);
  const ExchangeWork even =
      exchange_law(work.algorithm).work(group, ByteMatrix{one_to_each, group.size()}, PortLoads());
  const double of_one = transfer_seconds(group, parameters, even);
  if (of_one <= 0) return Bytes(0);
  return round_up_to_bytes(transfer_seconds(group, parameters, work) * unit.value() / of_one * group.size());
}

}  // namespace moesim
