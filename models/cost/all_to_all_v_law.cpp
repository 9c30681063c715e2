#include "models/cost/all_to_all_v_law.hpp"

#include <algorithm>
#include <vector>

#include "base/error.hpp"
#include "models/cost/pairwise_law.hpp"

namespace moesim {
namespace {

// Whole bytes, so that what crosses the outermost tier is exactly the total less what met before.
struct Scratch {
  std::vector<std::int64_t> sent;  // [tier * n + rank], by meeting tier
  std::vector<std::int64_t> received;
  std::vector<double> port_out;
  std::vector<double> port_in;
  std::array<std::int64_t, kMaxTiers> busiest_pair{};  // of mesh tiers only
};

Scratch& cleared_scratch(std::size_t cells) {
  thread_local Scratch scratch;
  scratch.sent.assign(cells, 0);
  scratch.received.assign(cells, 0);
  scratch.busiest_pair.fill(0);
  return scratch;
}

using GroupColumns = std::array<const std::int32_t*, kMaxTiers>;

bool met_below(const GroupColumns& columns, int tier, std::size_t a, std::size_t b) {
  for (std::size_t lower = 0; lower < static_cast<std::size_t>(tier); ++lower)
    if (columns[lower][a] == columns[lower][b]) return true;
  return false;
}

// Bytes that rank `from` sends. Most of a large group meets at the outermost tier, so everything is first
// booked there in one plain pass, and the few peers that are nearer are then moved to theirs.
void add_row(const GroupTopology& group, const GroupColumns& columns, const ByteMatrix& matrix, std::size_t from,
             Scratch& scratch) {
  const auto n = static_cast<std::size_t>(matrix.ranks);
  const std::int64_t* const row = matrix.bytes.data() + from * n;
  const int outermost = group.outermost_tier();
  const std::size_t far = static_cast<std::size_t>(outermost) * n;
  std::int64_t* const received = scratch.received.data() + far;
  std::int64_t total = 0;
  for (std::size_t to = 0; to < n; ++to) {
    total += row[to];
    received[to] += row[to];
  }
  total -= row[from];
  received[from] -= row[from];
  for (int t = 0; t <= outermost; ++t) {
    const bool mesh = group.view().tier(t).mesh;
    if (t == outermost && !mesh) break;
    std::int64_t sent = 0;
    std::int64_t& busiest = scratch.busiest_pair[static_cast<std::size_t>(t)];
    std::int64_t* const received_here = scratch.received.data() + static_cast<std::size_t>(t) * n;
    for (const std::int32_t peer : group.members(t, static_cast<int>(from))) {
      const auto to = static_cast<std::size_t>(peer);
      if (to == from || met_below(columns, t, from, to)) continue;
      if (mesh) busiest = std::max(busiest, row[to]);
      if (t == outermost) continue;
      sent += row[to];
      received[to] -= row[to];
      received_here[to] += row[to];
    }
    scratch.sent[static_cast<std::size_t>(t) * n + from] = sent;
    total -= sent;
  }
  scratch.sent[far + from] = total;
}

// Seconds at full rate of the busiest port of tier p, either direction.
double busiest_port(const GroupTopology& group, int p, Scratch& scratch) {
  const auto n = static_cast<std::size_t>(group.size());
  const auto rates = group.port_rates(p);
  const auto ports = group.ports_at(p);
  scratch.port_out.assign(rates.size(), 0);
  scratch.port_in.assign(rates.size(), 0);
  for (int t = p; t < group.tiers(); ++t) {
    if (group.view().tier(t).first_port_tier > p) continue;
    for (std::size_t i = 0; i < n; ++i) {
      scratch.port_out[static_cast<std::size_t>(ports[i])] +=
          static_cast<double>(scratch.sent[static_cast<std::size_t>(t) * n + i]);
      scratch.port_in[static_cast<std::size_t>(ports[i])] +=
          static_cast<double>(scratch.received[static_cast<std::size_t>(t) * n + i]);
    }
  }
  double seconds = 0;
  for (std::size_t port = 0; port < rates.size(); ++port)
    seconds = std::max(
        {seconds, scratch.port_out[port] / rates[port].out.value(), scratch.port_in[port] / rates[port].in.value()});
  const Tier& tier = group.view().tier(p);
  if (tier.mesh)
    seconds = std::max(
        seconds, static_cast<double>(scratch.busiest_pair[static_cast<std::size_t>(p)]) / tier.pair_limit.value());
  return seconds;
}

// Bytes of the busiest rank and times of the busiest ports.
struct Exchange {
  TierBytes bytes{};
  PortTimes ports;
};

Exchange exchange_of(const GroupTopology& group, const LawParameters& parameters, const ExchangeLoad& load,
                     Bytes unit) {
  Exchange exchange;
  PortTimes& ports = exchange.ports;
  for (int t = 0; t < group.tiers(); ++t) {
    const auto index = static_cast<std::size_t>(t);
    exchange.bytes[index] = load.busiest_rank[index] * unit.value();
    const double share = parameters.link(group.view().tier(t).link).all_to_all_efficiency;
    ports.seconds[index] = load.port_seconds[index] * unit.value() / share;
    if (ports.seconds[index] > ports.longest) ports.longest = ports.seconds[index], ports.bottleneck = t;
  }
  if (load.flow_seconds > 0) ports.longest = load.flow_seconds * unit.value();
  return exchange;
}

}  // namespace

ExchangeLoad exchange_load(const GroupTopology& group, const ByteMatrix& units) {
  MOESIM_ASSERT(units.ranks == group.size());
  const auto n = static_cast<std::size_t>(units.ranks);
  MOESIM_ASSERT(units.bytes.size() >= n * n);
  Scratch& scratch = cleared_scratch(n * static_cast<std::size_t>(group.tiers()));
  GroupColumns columns{};
  for (int t = 0; t < group.tiers(); ++t) columns[static_cast<std::size_t>(t)] = group.groups_at(t).data();
  for (std::size_t from = 0; from < n; ++from) add_row(group, columns, units, from, scratch);

  ExchangeLoad load;
  for (int t = 0; t < group.tiers(); ++t) {
    const auto index = static_cast<std::size_t>(t);
    const std::int64_t* const sent = scratch.sent.data() + index * n;
    load.busiest_rank[index] = static_cast<double>(*std::max_element(sent, sent + n));
    load.port_seconds[index] = busiest_port(group, t, scratch);
  }
  return load;
}

CommCost all_to_all_v_cost(const GroupTopology& group, const LawParameters& parameters, const ExchangeLoad& load,
                           Bytes unit) {
  const Exchange exchange = exchange_of(group, parameters, load, unit);
  return finish(group, parameters, exchange.ports, exchange.bytes, {.fixed = exchange_latency(group, parameters)});
}

Bytes even_exchange_as_long(const GroupTopology& group, const LawParameters& parameters, const ExchangeLoad& load,
                            Bytes unit) {
  double longest_of_a_byte = 0;  // per pair
  for (int t = 0; t < group.tiers(); ++t) {
    const double share = parameters.link(group.view().tier(t).link).all_to_all_efficiency;
    longest_of_a_byte = std::max(longest_of_a_byte, group.exchange_seconds_per_byte(t) / share);
  }
  if (longest_of_a_byte <= 0) return Bytes(0);
  return round_up_to_bytes(exchange_of(group, parameters, load, unit).ports.longest / longest_of_a_byte * group.size());
}

}  // namespace moesim
