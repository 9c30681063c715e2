#include "models/cost/all_to_all_v_law.hpp"

#include <algorithm>
#include <vector>

#include "base/error.hpp"
#include "models/cost/pairwise_law.hpp"

namespace moesim {
namespace {

struct Scratch {
  std::vector<double> sent;      // [tier * n + rank], by meeting tier
  std::vector<double> received;
  std::vector<double> port_out;
  std::vector<double> port_in;
  std::array<double, kMaxTiers> busiest_pair{};
};

Scratch& cleared_scratch(std::size_t cells) {
  thread_local Scratch scratch;
  scratch.sent.assign(cells, 0);
  scratch.received.assign(cells, 0);
  scratch.busiest_pair.fill(0);
  return scratch;
}

// Bytes that rank `from` sends, by the tier at which each receiver meets it.
void add_row(const GroupTopology& group, const ByteMatrix& matrix, int from, Scratch& scratch) {
  const auto n = static_cast<std::size_t>(matrix.ranks);
  const auto row = matrix.bytes.subspan(static_cast<std::size_t>(from) * n, n);
  const int last = group.tiers() - 1;
  std::array<const std::int32_t*, kMaxTiers> groups{};
  std::array<std::int32_t, kMaxTiers> own{};
  std::array<double, kMaxTiers> sent{};
  for (int t = 0; t <= last; ++t) {
    groups[static_cast<std::size_t>(t)] = group.groups_at(t).data();
    own[static_cast<std::size_t>(t)] = groups[static_cast<std::size_t>(t)][from];
  }
  for (std::size_t to = 0; to < n; ++to) {
    const std::int64_t count = row[to];
    if (count == 0 || to == static_cast<std::size_t>(from)) continue;
    std::size_t tier = 0;
    while (tier < static_cast<std::size_t>(last) && groups[tier][to] != own[tier]) ++tier;
    const auto bytes = static_cast<double>(count);
    sent[tier] += bytes;
    scratch.received[tier * n + to] += bytes;
    scratch.busiest_pair[tier] = std::max(scratch.busiest_pair[tier], bytes);
  }
  for (int t = 0; t <= last; ++t)
    scratch.sent[static_cast<std::size_t>(t) * n + static_cast<std::size_t>(from)] = sent[static_cast<std::size_t>(t)];
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
      scratch.port_out[static_cast<std::size_t>(ports[i])] += scratch.sent[static_cast<std::size_t>(t) * n + i];
      scratch.port_in[static_cast<std::size_t>(ports[i])] += scratch.received[static_cast<std::size_t>(t) * n + i];
    }
  }
  double seconds = 0;
  for (std::size_t port = 0; port < rates.size(); ++port)
    seconds = std::max({seconds, scratch.port_out[port] / rates[port].out.value(), scratch.port_in[port] / rates[port].in.value()});
  const Tier& tier = group.view().tier(p);
  if (tier.mesh) seconds = std::max(seconds, scratch.busiest_pair[static_cast<std::size_t>(p)] / tier.pair_limit.value());
  return seconds;
}

}  // namespace

CommCost all_to_all_v_cost(const GroupTopology& group, const LawParameters& parameters, const ByteMatrix& matrix) {
  MOESIM_ASSERT(matrix.ranks == group.size());
  const auto n = static_cast<std::size_t>(matrix.ranks);
  MOESIM_ASSERT(matrix.bytes.size() >= n * n);
  Scratch& scratch = cleared_scratch(n * static_cast<std::size_t>(group.tiers()));
  for (int from = 0; from < matrix.ranks; ++from) add_row(group, matrix, from, scratch);

  TierBytes bytes{};
  PortTimes ports;
  for (int t = 0; t < group.tiers(); ++t) {
    const auto index = static_cast<std::size_t>(t);
    const double* const sent = scratch.sent.data() + index * n;
    bytes[index] = *std::max_element(sent, sent + n);
    const double share = parameters.link(group.view().tier(t).link).all_to_all_efficiency;
    ports.seconds[index] = busiest_port(group, t, scratch) / share;
    if (ports.seconds[index] > ports.longest) ports.longest = ports.seconds[index], ports.bottleneck = t;
  }
  return finish(group, parameters, ports, bytes, exchange_latency(group, parameters));
}

}  // namespace moesim
