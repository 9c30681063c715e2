#include "models/cost/flows/cluster_flows.hpp"

#include <algorithm>
#include <bit>
#include <unordered_map>
#include <utility>

#include "base/error.hpp"
#include "models/cost/flows/fluid.hpp"

namespace moesim {
namespace {

// The finaliser of SplitMix64.
std::uint64_t mixed(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15ULL;
  x = (x ^ (x >> 30U)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27U)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31U);
}
std::uint64_t mixed(std::uint64_t a, std::uint64_t b) { return mixed(a ^ (b * 0xD6E8FEB86659FD93ULL)); }

std::size_t distinct(std::vector<std::uint64_t> values) {
  std::sort(values.begin(), values.end());
  return static_cast<std::size_t>(std::unique(values.begin(), values.end()) - values.begin());
}

}  // namespace

// By hash: equal numbers, equal colours.
struct ClusterFlows::Colours {
  std::vector<std::uint64_t> link;
  std::vector<std::uint64_t> path;  // [bundle * 2 + direction]

  [[nodiscard]] std::uint64_t of(const Flow& flow, double start) const {
    const std::uint64_t ways =
        mixed(path[2 * static_cast<std::size_t>(flow.out)], path[2 * static_cast<std::size_t>(flow.in) + 1]);
    const std::uint64_t between = flow.pair < 0 ? 0 : link[static_cast<std::size_t>(flow.pair)];
    return mixed(ways ^ mixed(between) ^ mixed(std::bit_cast<std::uint64_t>(flow.bytes)),
                 std::bit_cast<std::uint64_t>(start) ^ static_cast<std::uint64_t>(flow.exchange));
  }
};

ClusterFlows::ClusterFlows(const ClusterView& view, const LinkPaths& links) : view_(view), links_(links) {
  MOESIM_ASSERT(view.ranks() == links.ranks && view.tiers().size() == links.level_of_tier.size());
  for (const ClusterLink& link : links.links) {
    capacity_.push_back(link.rate.out.value());
    capacity_.push_back(link.rate.in.value());
  }
  efficiency_of_tier_.assign(view.tiers().size(), 1);
}

void ClusterFlows::apply_efficiency(const LawParameters& parameters) {
  MOESIM_ASSERT(flows_.empty());
  for (std::size_t l = 0; l < links_.links.size(); ++l) {
    const double share = parameters.link(links_.links[l].link).all_to_all_efficiency;
    capacity_[2 * l] *= share;
    capacity_[2 * l + 1] *= share;
  }
  for (std::size_t t = 0; t < efficiency_of_tier_.size(); ++t)
    efficiency_of_tier_[t] *= parameters.link(view_.tier(static_cast<int>(t)).link).all_to_all_efficiency;
}

void ClusterFlows::share_with_cluster(std::span<const RankId> ranks) {
  std::vector<std::int32_t> members(links_.links.size(), 0);
  std::vector<std::int32_t> own;
  for (const RankId rank : ranks) {
    own.clear();
    for (const std::int32_t level : links_.level_of_tier) {
      const auto path = links_.path(level, rank);
      own.insert(own.end(), path.begin(), path.end());
    }
    std::sort(own.begin(), own.end());
    own.erase(std::unique(own.begin(), own.end()), own.end());
    for (const std::int32_t link : own) ++members[static_cast<std::size_t>(link)];
  }
  for (std::size_t l = 0; l < members.size(); ++l) {
    const double share = std::min(1.0, static_cast<double>(members[l]) / std::max(1, links_.links[l].users));
    capacity_[2 * l] *= share;
    capacity_[2 * l + 1] *= share;
  }
}

std::int32_t ClusterFlows::new_exchange(Seconds start) {
  starts_.push_back(start.value());
  return static_cast<std::int32_t>(starts_.size() - 1);
}

void ClusterFlows::add_flow(int level, RankId from, RankId to, double bytes, std::int32_t exchange) {
  if (bytes <= 0) return;
  flows_.push_back({level * links_.ranks + from.value(), level * links_.ranks + to.value(), exchange,
                    pair_link(level, from, to), bytes});
}

int ClusterFlows::level_of(RankId from, RankId to) const {
  return links_.level_of_tier[static_cast<std::size_t>(view_.meeting_tier(from, to))];
}

std::int32_t ClusterFlows::add_exchange(std::span<const RankId> ranks, const ByteMatrix& bytes, Seconds start) {
  MOESIM_ASSERT(static_cast<std::size_t>(bytes.ranks) == ranks.size());
  const std::int32_t exchange = new_exchange(start);
  flows_.reserve(flows_.size() + ranks.size() * ranks.size());
  for (int i = 0; i < bytes.ranks; ++i)
    for (int j = 0; j < bytes.ranks; ++j) {
      const RankId from = ranks[static_cast<std::size_t>(i)];
      const RankId to = ranks[static_cast<std::size_t>(j)];
      if (i != j) add_flow(level_of(from, to), from, to, static_cast<double>(bytes.at(i, j)), exchange);
    }
  return exchange;
}

std::int32_t ClusterFlows::add_message(RankId from, RankId to, Bytes bytes, Seconds start) {
  const std::int32_t exchange = new_exchange(start);
  if (from != to) add_flow(level_of(from, to), from, to, bytes.value(), exchange);
  return exchange;
}

std::int32_t ClusterFlows::add_striped(RankId from, RankId to, Bytes bytes, std::span<const Stripe> stripes,
                                       Seconds start) {
  const std::int32_t exchange = new_exchange(start);
  for (const Stripe& stripe : stripes) add_flow(stripe.level, from, to, bytes.value() * stripe.share, exchange);
  return exchange;
}

template <class Visit>
void ClusterFlows::visit_links(const Flow& flow, const Visit& visit) const {
  const auto path = [&](std::int32_t bundle) {
    return links_.path(bundle / links_.ranks, RankId(bundle % links_.ranks));
  };
  for (const std::int32_t link : path(flow.out)) visit(2 * link);
  for (const std::int32_t link : path(flow.in)) visit(2 * link + 1);
  if (flow.pair >= 0) visit(flow.pair);
}

std::int32_t ClusterFlows::pair_link(int level, RankId from, RankId to) {
  const std::vector<std::int32_t>& levels = links_.level_of_tier;
  const auto found = std::find(levels.begin(), levels.end(), level);
  const auto tier = static_cast<int>(found - levels.begin());
  if (found == levels.end() || !view_.tier(tier).mesh) return -1;
  const auto [entry, fresh] =
      pair_links_.emplace(std::tuple(level, from, to), static_cast<std::int32_t>(capacity_.size()));
  if (fresh)
    capacity_.push_back(view_.tier(tier).pair_limit.value() * efficiency_of_tier_[static_cast<std::size_t>(tier)]);
  return entry->second;
}

ClusterFlows::Colours ClusterFlows::refined() const {
  Colours colours;
  for (const double capacity : capacity_) colours.link.push_back(mixed(std::bit_cast<std::uint64_t>(capacity)));
  const auto bundles = static_cast<std::size_t>(links_.ranks) * static_cast<std::size_t>(links_.levels());
  colours.path.resize(2 * bundles);
  std::vector<std::uint64_t> crossing(2 * bundles);  // by path, of flows
  std::vector<std::uint64_t> sums(colours.link.size());
  std::size_t known = distinct(colours.link);
  for (;;) {
    for (std::size_t b = 0; b < bundles; ++b) {
      const auto path = links_.path(static_cast<int>(b / static_cast<std::size_t>(links_.ranks)),
                                    RankId(static_cast<std::int32_t>(b % static_cast<std::size_t>(links_.ranks))));
      std::uint64_t out = b / static_cast<std::size_t>(links_.ranks);  // the level
      std::uint64_t in = ~out;
      for (const std::int32_t link : path) {
        out = mixed(out, colours.link[2 * static_cast<std::size_t>(link)]);
        in = mixed(in, colours.link[2 * static_cast<std::size_t>(link) + 1]);
      }
      colours.path[2 * b] = out;
      colours.path[2 * b + 1] = in;
    }
    std::fill(crossing.begin(), crossing.end(), 0);
    std::fill(sums.begin(), sums.end(), 0);
    for (const Flow& flow : flows_) {
      const std::uint64_t colour = mixed(colours.of(flow, starts_[static_cast<std::size_t>(flow.exchange)]));
      crossing[2 * static_cast<std::size_t>(flow.out)] += colour;
      crossing[2 * static_cast<std::size_t>(flow.in) + 1] += colour;
      if (flow.pair >= 0) sums[static_cast<std::size_t>(flow.pair)] += colour;
    }
    for (std::size_t b = 0; b < bundles; ++b)
      for (const std::int32_t link :
           links_.path(static_cast<int>(b / static_cast<std::size_t>(links_.ranks)),
                       RankId(static_cast<std::int32_t>(b % static_cast<std::size_t>(links_.ranks))))) {
        sums[2 * static_cast<std::size_t>(link)] += crossing[2 * b];
        sums[2 * static_cast<std::size_t>(link) + 1] += crossing[2 * b + 1];
      }
    std::vector<std::uint64_t> next(colours.link.size());
    for (std::size_t l = 0; l < next.size(); ++l) next[l] = mixed(colours.link[l], sums[l]);
    const std::size_t split = distinct(next);
    if (split == known) return colours;
    known = split;
    colours.link = std::move(next);
  }
}

ClusterFlows::Outcome ClusterFlows::play() const {
  Outcome outcome;
  for (const double start : starts_) outcome.ends.emplace_back(start);
  outcome.flows = static_cast<std::int64_t>(flows_.size());
  const Colours colours = refined();

  // Batches of flows, and links by colour; of each one stands for all.
  struct Batch {
    std::size_t flow;
    double flows;
  };
  std::unordered_map<std::uint64_t, std::size_t> number;
  std::vector<Batch> batches;
  std::uint64_t last_colour = 0;
  std::size_t last = 0;
  for (std::size_t f = 0; f < flows_.size(); ++f) {
    const std::uint64_t colour = colours.of(flows_[f], starts_[static_cast<std::size_t>(flows_[f].exchange)]);
    if (batches.empty() || colour != last_colour) {
      last = number.emplace(colour, batches.size()).first->second;
      if (last == batches.size()) batches.push_back({f, 0});
      last_colour = colour;
    }
    ++batches[last].flows;
  }
  std::unordered_map<std::uint64_t, std::int32_t> link_number;
  std::vector<std::int32_t> class_of_link;
  std::vector<double> capacities;
  std::vector<double> links_in_class;
  for (std::size_t l = 0; l < colours.link.size(); ++l) {
    const auto [entry, fresh] = link_number.emplace(colours.link[l], static_cast<std::int32_t>(capacities.size()));
    if (fresh) {
      capacities.push_back(capacity_[l]);
      links_in_class.push_back(0);
    }
    ++links_in_class[static_cast<std::size_t>(entry->second)];
    class_of_link.push_back(entry->second);
  }
  FluidNetwork network(std::move(capacities));
  std::vector<double> busy(network.capacities().size(), 0);  // bytes of one link, for the least time possible
  std::vector<LinkUse> uses;
  for (const Batch& batch : batches) {
    const Flow& flow = flows_[batch.flow];
    uses.clear();
    visit_links(flow, [&](std::int32_t link) {
      const std::int32_t of = class_of_link[static_cast<std::size_t>(link)];
      const double flows = batch.flows / links_in_class[static_cast<std::size_t>(of)];
      const auto same = std::find_if(uses.begin(), uses.end(), [of](const LinkUse& use) { return use.link == of; });
      if (same == uses.end()) {
        uses.push_back({of, flows});
      } else {
        same->flows += flows;
      }
    });
    for (const LinkUse& use : uses) busy[static_cast<std::size_t>(use.link)] += use.flows * flow.bytes;
    network.add(flow.bytes, starts_[static_cast<std::size_t>(flow.exchange)], uses);
  }
  double least = 0;
  for (std::size_t l = 0; l < busy.size(); ++l)
    if (busy[l] > 0) least = std::max(least, busy[l] / network.capacities()[l]);
  const FluidNetwork::Outcome played = network.play(network.batches() > kMostExact ? kWindow * least : 0);
  for (std::size_t b = 0; b < batches.size(); ++b) {
    Seconds& end = outcome.ends[static_cast<std::size_t>(flows_[batches[b].flow].exchange)];
    end = std::max(end, Seconds(played.ends[b]));
  }
  for (const Seconds end : outcome.ends) outcome.end = std::max(outcome.end, end);
  outcome.batches = network.batches();
  outcome.events = played.events;
  return outcome;
}

}  // namespace moesim
