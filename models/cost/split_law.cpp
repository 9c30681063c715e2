#include "models/cost/split_law.hpp"

#include <algorithm>
#include <limits>
#include <numeric>
#include <set>

#include "base/error.hpp"

namespace moesim {

Split best_split(std::span<const SplitLink> links, Bytes size) {
  MOESIM_ASSERT(!links.empty());
  std::vector<std::size_t> order(links.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return links[a].start < links[b].start; });
  double rates = 0;
  double carried_if_at_once = size.value();  // S + sum of start * rate
  double end = std::numeric_limits<double>::infinity();
  for (const std::size_t i : order) {
    if (links[i].start.value() >= end) break;
    rates += links[i].rate.value();
    carried_if_at_once += links[i].start.value() * links[i].rate.value();
    end = carried_if_at_once / rates;
  }
  Split split{std::vector<double>(links.size(), 0), Seconds(end)};
  if (size.count() == 0) {
    split.shares[order.front()] = 1;
    return split;
  }
  for (std::size_t i = 0; i < links.size(); ++i)
    split.shares[i] = std::max(0.0, end - links[i].start.value()) * links[i].rate.value() / size.value();
  return split;
}

Seconds split_time(std::span<const SplitLink> links, Bytes size, std::span<const double> shares) {
  MOESIM_ASSERT(links.size() == shares.size());
  double longest = 0;
  for (std::size_t i = 0; i < links.size(); ++i)
    if (shares[i] > 0)
      longest = std::max(longest, links[i].start.value() + shares[i] * size.value() / links[i].rate.value());
  return Seconds(longest);
}

namespace {

// What each of the ranks has of the narrowest link of its way, the least of all ranks, per direction.
struct Narrowest {
  double rate = std::numeric_limits<double>::infinity();
  LinkClass link = LinkClass::kOther;
};

Narrowest narrowest_link(const LinkPaths& links, int level, std::span<const RankId> ranks) {
  std::vector<int> members(links.links.size(), 0);
  for (const RankId rank : ranks)
    for (const std::int32_t link : links.path(level, rank)) ++members[static_cast<std::size_t>(link)];
  Narrowest narrowest;
  for (const RankId rank : ranks)
    for (const std::int32_t link : links.path(level, rank)) {
      const ClusterLink& one = links.links[static_cast<std::size_t>(link)];
      const double rate = std::min(one.rate.out, one.rate.in).value() / members[static_cast<std::size_t>(link)];
      if (rate < narrowest.rate) narrowest = {rate, one.link};
    }
  return narrowest;
}

}  // namespace

std::vector<SplitChannel> split_channels(const LinkPaths& links, std::span<const RankId> ranks,
                                         const LawParameters& parameters) {
  std::vector<SplitChannel> ways;
  if (ranks.size() < 2) return ways;
  const auto n = static_cast<double>(ranks.size());
  for (int level = 0; level < links.levels(); ++level) {
    if (!std::all_of(ranks.begin(), ranks.end(), [&](RankId rank) { return links.meet(level, ranks.front(), rank); }))
      continue;
    const Narrowest narrowest = narrowest_link(links, level, ranks);
    const LinkParameters& of_link = parameters.link(narrowest.link);
    // As ring_law.hpp: 2 (n-1)/n of the buffer pass each rank, in 2 (n-1) hops.
    const double hop = of_link.ring_step.value() + links.latency_of_level[static_cast<std::size_t>(level)].value();
    ways.push_back({narrowest.link,
                    level,
                    {Seconds(parameters.collective.base.value() + 2 * (n - 1) * hop),
                     BytesPerSecond(narrowest.rate * of_link.ring_efficiency * n / (2 * (n - 1)))}});
  }
  std::stable_sort(ways.begin(), ways.end(),
                   [](const SplitChannel& a, const SplitChannel& b) { return a.all_reduce.rate > b.all_reduce.rate; });
  std::set<std::int32_t> taken;
  std::vector<SplitChannel> apart;
  for (const SplitChannel& way : ways) {
    std::set<std::int32_t> own;
    for (const RankId rank : ranks)
      for (const std::int32_t link : links.path(way.level, rank)) own.insert(link);
    if (std::any_of(own.begin(), own.end(), [&](std::int32_t link) { return taken.contains(link); })) continue;
    taken.insert(own.begin(), own.end());
    apart.push_back(way);
  }
  return apart;
}

}  // namespace moesim
