// From the graph to tiers: walk up from every device, sort the meeting points by how far out they stand, and keep the
// levels at which some pair of ranks meets for the first time or that hold a bottleneck of those further out.
#include <fmt/format.h>

#include <algorithm>
#include <boost/graph/topological_sort.hpp>
#include <limits>
#include <map>
#include <numeric>
#include <optional>
#include <tuple>
#include <utility>

#include "models/cluster/cluster_source.hpp"
#include "models/cluster/link_paths.hpp"
#include "models/cluster/topology.hpp"
#include "models/cost/cost.hpp"

namespace moesim {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Bounds on odd explicit topologies, so that the work stays linear in the ranks. Real machines have some ten links
// between a device and the core of the network.
constexpr std::int32_t kMostLinksDeep = 32;
constexpr std::int32_t kMostLevels = 24;
constexpr std::size_t kMostSwitchesAbove = 1024;
constexpr std::int64_t kMostPairsCompared = std::int64_t{1} << 27;

// Scale-up domains first, then PCIe switches, hosts, the whole node, then the network.
int order_of(SwitchKind kind) {
  switch (kind) {
    case SwitchKind::kScaleUp:
    case SwitchKind::kMesh: return 0;
    case SwitchKind::kPcie: return 1;
    case SwitchKind::kHost: return 2;
    case SwitchKind::kSystem: return 3;
    case SwitchKind::kNic:
    case SwitchKind::kNetwork: return 4;
  }
  return 4;
}

// One meeting point above a rank: the links from the rank to it, nearest first.
struct Meeting {
  std::int32_t level = 0;
  std::int32_t vertex = 0;
  std::int32_t first_step = 0;  // into Walks::steps
  std::int32_t steps = 0;
};

struct Walks {
  std::vector<Meeting> meetings;            // of all ranks, sorted by level within a rank
  std::vector<std::int64_t> first_of_rank;  // ranks + 1 entries into meetings
  std::vector<std::int32_t> steps;          // edge ids
  [[nodiscard]] std::span<const Meeting> of(std::size_t rank) const {
    const auto begin = static_cast<std::size_t>(first_of_rank[rank]);
    return std::span(meetings).subspan(begin, static_cast<std::size_t>(first_of_rank[rank + 1]) - begin);
  }
  [[nodiscard]] const Meeting* at(std::size_t rank, std::int32_t level) const {
    for (const Meeting& meeting : of(rank))
      if (meeting.level == level) return &meeting;
    return nullptr;
  }
  [[nodiscard]] std::span<const std::int32_t> path(const Meeting& meeting) const {
    return std::span(steps).subspan(static_cast<std::size_t>(meeting.first_step),
                                    static_cast<std::size_t>(meeting.steps));
  }
};

class Compiler {
 public:
  Compiler(const ClusterSpec& spec, Topology topology) : spec_(spec), topology_(std::move(topology)) {}

  Result<ClusterView> compile() {
    index_edges();
    number_levels();
    if (levels_ > kMostLevels)
      return invalid_input(fmt::format("the topology has {} levels of switches, more than {}", levels_, kMostLevels),
                           spec_.source, "join switches that follow one another into one");
    MOESIM_TRY(walk_all());
    group_all();
    keep_useful_levels();
    MOESIM_TRY(check_reachable());
    if (kept_.size() > static_cast<std::size_t>(kMaxTiers))
      return invalid_input(
          fmt::format("the cluster has {} tiers, more than the {} this program handles", kept_.size(), kMaxTiers),
          spec_.source, "join switches of neighbouring levels");
    for (const std::int32_t level : kept_) add_tier(level);
    return ClusterView(std::move(topology_.devices), std::move(topology_.device_of_rank),
                       std::move(topology_.speed_of_rank), std::move(topology_.node_of_rank), std::move(tiers_));
  }

  // After compile().
  [[nodiscard]] LinkPaths link_paths() const {
    LinkPaths paths;
    paths.ranks = static_cast<int>(ranks());
    paths.level_of_tier = kept_;
    for (std::size_t edge = 0; edge < edges_.size(); ++edge)
      paths.links.push_back({edges_[edge].link, edges_[edge].rate, edge_users_[edge]});
    for (std::int32_t level = 0; level < levels_; ++level) {
      Seconds latency;
      for (std::size_t rank = 0; rank < ranks(); ++rank) {
        const Meeting* meeting = walks_.at(rank, level);
        paths.first_step.push_back(static_cast<std::int64_t>(paths.steps.size()));
        paths.meeting.push_back(meeting != nullptr ? meeting->vertex : -1);
        if (meeting == nullptr) continue;
        latency = std::max(latency, latency_of(*meeting));
        for (const std::int32_t edge : walks_.path(*meeting)) paths.steps.push_back(edge);
      }
      paths.latency_of_level.push_back(latency);
    }
    paths.first_step.push_back(static_cast<std::int64_t>(paths.steps.size()));
    return paths;
  }

 private:
  [[nodiscard]] std::size_t ranks() const { return topology_.vertex_of_rank.size(); }

  void index_edges() {
    edges_.resize(static_cast<std::size_t>(topology_.links));
    edge_target_.resize(edges_.size());
    edge_users_.assign(edges_.size(), 0);
    const TopologyGraph& graph = *topology_.graph;
    for (std::size_t v = 0; v < boost::num_vertices(graph); ++v)
      for (auto [edge, end] = boost::out_edges(v, graph); edge != end; ++edge) {
        const TopologyEdge& link = graph[*edge];
        edges_[static_cast<std::size_t>(link.id)] = link;
        edge_target_[static_cast<std::size_t>(link.id)] = static_cast<std::int32_t>(boost::target(*edge, graph));
      }
  }

  // A level is a kind and a height among vertices of that kind, so a second row of PCIe switches is its own level.
  void number_levels() {
    const TopologyGraph& graph = *topology_.graph;
    const std::size_t count = boost::num_vertices(graph);
    std::vector<std::size_t> order;  // topological_sort gives the far ends first
    order.reserve(count);
    boost::topological_sort(graph, std::back_inserter(order));
    std::vector<int> height(count, 1);
    for (auto v = order.rbegin(); v != order.rend(); ++v)
      for (auto [edge, end] = boost::out_edges(*v, graph); edge != end; ++edge) {
        const std::size_t parent = boost::target(*edge, graph);
        if (!graph[*v].is_device && order_of(graph[*v].kind) == order_of(graph[parent].kind) &&
            graph[*v].kind != SwitchKind::kNic)
          height[parent] = std::max(height[parent], height[*v] + 1);
      }
    std::map<std::pair<int, int>, std::int32_t> levels;
    for (std::size_t v = 0; v < count; ++v)
      if (graph[v].meets) levels.emplace(std::pair(order_of(graph[v].kind), height[v]), 0);
    for (auto& [key, number] : levels) number = levels_++;
    level_of_vertex_.assign(count, -1);
    for (std::size_t v = 0; v < count; ++v)
      if (graph[v].meets) level_of_vertex_[v] = levels.at(std::pair(order_of(graph[v].kind), height[v]));
  }

  Status walk_all() {
    distance_.assign(boost::num_vertices(*topology_.graph), -1);
    entered_by_.assign(distance_.size(), -1);
    came_from_.assign(distance_.size(), -1);
    walks_.first_of_rank.push_back(0);
    for (std::size_t rank = 0; rank < ranks(); ++rank) {
      MOESIM_TRY(walk(topology_.vertex_of_rank[rank]));
      walks_.first_of_rank.push_back(static_cast<std::int64_t>(walks_.meetings.size()));
    }
    return {};
  }

  // Breadth first, so that the shortest way to a vertex wins; two equally short ones are an error.
  Status walk(std::int32_t start) {
    const TopologyGraph& graph = *topology_.graph;
    const std::int32_t own_nic = graph[static_cast<std::size_t>(start)].nic;
    std::vector<std::int32_t>& queue = queue_;
    queue.assign(1, start);
    distance_[static_cast<std::size_t>(start)] = 0;
    Status status;
    for (std::size_t head = 0; head < queue.size() && status; ++head) {
      const auto from = static_cast<std::size_t>(queue[head]);
      for (auto [edge, end] = boost::out_edges(from, graph); edge != end; ++edge) {
        const std::size_t to = boost::target(*edge, graph);
        if (own_nic >= 0 && graph[to].kind == SwitchKind::kNic && to != static_cast<std::size_t>(own_nic)) continue;
        if (distance_[from] >= kMostLinksDeep || queue.size() > kMostSwitchesAbove) {
          status = too_large(graph[static_cast<std::size_t>(start)].name);
          break;
        }
        if (distance_[to] < 0) {
          distance_[to] = distance_[from] + 1;
          entered_by_[to] = graph[*edge].id;
          came_from_[to] = static_cast<std::int32_t>(from);
          queue.push_back(static_cast<std::int32_t>(to));
        } else if (distance_[to] == distance_[from] + 1) {
          status = ambiguous(graph[static_cast<std::size_t>(start)].name, graph[to].name);
          break;
        }
      }
    }
    if (status) status = record(start);
    for (const std::int32_t vertex : queue) distance_[static_cast<std::size_t>(vertex)] = -1;
    return status;
  }

  [[nodiscard]] Status too_large(const std::string& device) const {
    return invalid_input(fmt::format("device '{}' has more than {} links or {} switches above it", device,
                                     kMostLinksDeep, kMostSwitchesAbove),
                         spec_.source, "join parallel or consecutive switches, or name the NIC of the device");
  }

  [[nodiscard]] Status ambiguous(const std::string& device, const std::string& target) const {
    return invalid_input(
        fmt::format("device '{}' has two equally short ways to '{}'", device, target), spec_.source,
        "join parallel links or switches into one with the sum of their bandwidths, or name the NIC of the device");
  }

  Status record(std::int32_t start) {
    const std::size_t begin = walks_.meetings.size();
    for (const std::int32_t vertex : queue_) {
      const std::int32_t level = level_of_vertex_[static_cast<std::size_t>(vertex)];
      if (level < 0) continue;
      Meeting meeting{level, vertex, static_cast<std::int32_t>(walks_.steps.size()), 0};
      for (std::int32_t v = vertex; v != start; v = came_from_[static_cast<std::size_t>(v)])
        walks_.steps.push_back(entered_by_[static_cast<std::size_t>(v)]);
      meeting.steps = static_cast<std::int32_t>(walks_.steps.size()) - meeting.first_step;
      std::reverse(walks_.steps.end() - meeting.steps, walks_.steps.end());
      walks_.meetings.push_back(meeting);
    }
    for (const std::int32_t vertex : queue_)
      if (vertex != start) ++edge_users_[static_cast<std::size_t>(entered_by_[static_cast<std::size_t>(vertex)])];
    const auto first = walks_.meetings.begin() + static_cast<std::ptrdiff_t>(begin);
    std::sort(first, walks_.meetings.end(), [](const Meeting& a, const Meeting& b) { return a.level < b.level; });
    for (auto m = first; m != walks_.meetings.end() && m + 1 != walks_.meetings.end(); ++m)
      if (m->level == (m + 1)->level)
        return invalid_input(fmt::format("device '{}' reaches two switches of the same level, '{}' and '{}'",
                                         name(start), name(m->vertex), name((m + 1)->vertex)),
                             spec_.source, "join them into one switch with the sum of their bandwidths");
    return {};
  }

  [[nodiscard]] const std::string& name(std::int32_t vertex) const {
    return (*topology_.graph)[static_cast<std::size_t>(vertex)].name;
  }

  // The group of a rank at each level is the vertex it meets others at; a rank without one is alone.
  void group_all() {
    groups_.assign(static_cast<std::size_t>(levels_), {});
    std::vector<std::int32_t> number(boost::num_vertices(*topology_.graph));
    for (std::int32_t level = 0; level < levels_; ++level) {
      std::vector<std::int32_t>& group = groups_[static_cast<std::size_t>(level)];
      group.resize(ranks());
      std::fill(number.begin(), number.end(), -1);
      std::int32_t next = 0;
      for (std::size_t rank = 0; rank < ranks(); ++rank) {
        const Meeting* meeting = walks_.at(rank, level);
        // Alone: keyed by the rank's own vertex, where no other rank can be.
        const std::int32_t key = meeting != nullptr ? meeting->vertex : topology_.vertex_of_rank[rank];
        std::int32_t& known = number[static_cast<std::size_t>(key)];
        if (known < 0) known = next++;
        group[rank] = known;
      }
    }
  }

  // True when everybody that meets at `level` has met already at `earlier`.
  [[nodiscard]] bool covered_by(std::int32_t level, std::int32_t earlier) const {
    const std::vector<std::int32_t>& outer = groups_[static_cast<std::size_t>(level)];
    const std::vector<std::int32_t>& inner = groups_[static_cast<std::size_t>(earlier)];
    std::vector<std::int32_t> inner_of(ranks(), -1);
    for (std::size_t rank = 0; rank < ranks(); ++rank) {
      std::int32_t& known = inner_of[static_cast<std::size_t>(outer[rank])];
      if (known < 0) known = inner[rank];
      if (known != inner[rank]) return false;
    }
    return true;
  }

  [[nodiscard]] bool anyone_meets_at(std::int32_t level) const {
    const std::vector<std::int32_t>& group = groups_[static_cast<std::size_t>(level)];
    return !group.empty() && static_cast<std::size_t>(*std::max_element(group.begin(), group.end())) + 1 < ranks();
  }

  void keep_useful_levels() {
    std::vector<std::int32_t> useful;
    for (std::int32_t level = 0; level < levels_; ++level)
      if (anyone_meets_at(level) &&
          std::none_of(useful.begin(), useful.end(), [&](std::int32_t earlier) { return covered_by(level, earlier); }))
        useful.push_back(level);
    // A level where nobody meets first may still narrow the way further out: the NICs of an NVL72 rack whose leaf
    // switches serve just that rack.
    for (std::int32_t level = 0; level < levels_; ++level) {
      const bool is_useful = std::find(useful.begin(), useful.end(), level) != useful.end();
      if (is_useful || std::any_of(useful.begin(), useful.end(),
                                   [&](std::int32_t outer) { return outer > level && narrows(level, outer); }))
        kept_.push_back(level);
    }
  }

  // Does the way to `outer` pass through `level`, and cross before it a link that no later one makes irrelevant?
  [[nodiscard]] bool narrows(std::int32_t level, std::int32_t outer) const {
    for (std::size_t rank = 0; rank < ranks(); ++rank) {
      const Meeting* inner = walks_.at(rank, level);
      const Meeting* end = walks_.at(rank, outer);
      if (inner == nullptr || end == nullptr || !leads_through(*end, *inner)) continue;
      std::size_t first = 0;  // what kept levels on the way count already
      for (const std::int32_t kept : kept_)
        if (const Meeting* nearer = walks_.at(rank, kept); nearer != nullptr && leads_through(*inner, *nearer))
          first = std::max(first, static_cast<std::size_t>(nearer->steps));
      const auto path = walks_.path(*end);
      for (std::size_t i = first; i < static_cast<std::size_t>(inner->steps); ++i)
        if (!made_irrelevant(path, i)) return true;
    }
    return false;
  }

  [[nodiscard]] bool leads_through(const Meeting& outer, const Meeting& inner) const {
    const auto path = walks_.path(outer);
    const auto start = walks_.path(inner);
    return path.size() >= start.size() && std::equal(start.begin(), start.end(), path.begin());
  }

  // A later link that is no wider and that at least as many ranks share is always the tighter limit.
  [[nodiscard]] bool made_irrelevant(std::span<const std::int32_t> path, std::size_t at) const {
    const auto edge = static_cast<std::size_t>(path[at]);
    return std::any_of(path.begin() + static_cast<std::ptrdiff_t>(at) + 1, path.end(), [&](std::int32_t later_edge) {
      const auto later = static_cast<std::size_t>(later_edge);
      return edges_[later].rate.out <= edges_[edge].rate.out && edges_[later].rate.in <= edges_[edge].rate.in &&
             edge_users_[later] >= edge_users_[edge];
    });
  }

  // Usually one level joins everybody. Otherwise each pair is looked at, because reachability is not transitive: on
  // rails without a spine, GPU 0 of one node reaches GPU 1 of another only through a third rank.
  Status check_reachable() const {
    for (const std::int32_t level : kept_) {
      const std::vector<std::int32_t>& group = groups_[static_cast<std::size_t>(level)];
      if (std::all_of(group.begin(), group.end(), [&](std::int32_t g) { return g == group.front(); })) return {};
    }
    std::int64_t compared = 0;
    for (std::size_t a = 0; a + 1 < ranks(); ++a)
      for (std::size_t b = a + 1; b < ranks(); ++b) {
        if (++compared > kMostPairsCompared)
          return invalid_input("no switch joins all ranks, and there are too many to look at each pair", spec_.source,
                               "add a level above the others");
        if (!meet(a, b))
          return invalid_input(fmt::format("no way between '{}' (rank {}) and '{}' (rank {})",
                                           name(topology_.vertex_of_rank[a]), a, name(topology_.vertex_of_rank[b]), b),
                               spec_.source, "give them a common scale-up domain, PCIe host or network level");
      }
    return {};
  }
  [[nodiscard]] bool meet(std::size_t a, std::size_t b) const {
    return std::any_of(kept_.begin(), kept_.end(), [&](std::int32_t level) {
      return groups_[static_cast<std::size_t>(level)][a] == groups_[static_cast<std::size_t>(level)][b];
    });
  }

  void add_tier(std::int32_t level) {
    Tier tier;
    tier.first_port_tier = static_cast<int>(tiers_.size());
    while (tier.first_port_tier > 0 && all_cross_port_of(tier.first_port_tier - 1, level)) --tier.first_port_tier;
    tier.group_of_rank = groups_[static_cast<std::size_t>(level)];
    choose_ports(tier, level);
    describe(tier, level);
    tiers_.push_back(std::move(tier));
  }

  // Does everybody who reaches `level` pass the port that counts at the earlier tier?
  [[nodiscard]] bool all_cross_port_of(int earlier, std::int32_t level) const {
    const std::vector<std::int32_t>& port = port_edges_[static_cast<std::size_t>(earlier)];
    for (std::size_t rank = 0; rank < ranks(); ++rank) {
      const Meeting* meeting = walks_.at(rank, level);
      if (meeting == nullptr || port[rank] < 0) continue;
      const auto path = walks_.path(*meeting);
      if (std::find(path.begin(), path.end(), port[rank]) == path.end()) return false;
    }
    return true;
  }

  // The port of a rank at a tier is the scarcest link on its way (least capacity per rank that shares it) beyond the
  // ports that nearer tiers of the range have counted; what lies nearer than those is wider, or they would not count.
  void choose_ports(Tier& tier, std::int32_t level) {
    std::vector<std::int32_t> chosen(ranks(), -1);
    std::vector<std::int32_t> number(edges_.size(), -1);
    tier.port_of_rank.resize(ranks());
    for (std::size_t rank = 0; rank < ranks(); ++rank) {
      const Meeting* meeting = walks_.at(rank, level);
      if (meeting != nullptr) chosen[rank] = scarcest(rank, walks_.path(*meeting), tier.first_port_tier);
      if (chosen[rank] < 0) {  // nothing to cross here: a port of its own that never limits
        tier.port_of_rank[rank] = static_cast<std::int32_t>(tier.ports.size());
        tier.ports.push_back({BytesPerSecond(kInfinity), BytesPerSecond(kInfinity)});
        continue;
      }
      std::int32_t& known = number[static_cast<std::size_t>(chosen[rank])];
      if (known < 0) {
        known = static_cast<std::int32_t>(tier.ports.size());
        const LinkRate rate = edges_[static_cast<std::size_t>(chosen[rank])].rate;
        tier.ports.push_back({rate.out, rate.in});
      }
      tier.port_of_rank[rank] = known;
    }
    port_edges_.push_back(std::move(chosen));
  }

  [[nodiscard]] std::int32_t scarcest(std::size_t rank, std::span<const std::int32_t> path, int first_tier) const {
    std::size_t beyond = 0;
    for (std::size_t i = 0; i < path.size(); ++i)
      for (std::size_t t = static_cast<std::size_t>(first_tier); t < port_edges_.size(); ++t)
        if (port_edges_[t][rank] == path[i]) beyond = i + 1;
    std::int32_t best = -1;
    double best_share = kInfinity;
    for (const std::int32_t edge : path.subspan(beyond)) {
      const TopologyEdge& link = edges_[static_cast<std::size_t>(edge)];
      const double share = std::min(link.rate.out, link.rate.in).value() / edge_users_[static_cast<std::size_t>(edge)];
      // Of equals the outermost counts: it is the one that names the tier.
      if (best < 0 || share <= best_share) {
        best = edge;
        best_share = share;
      }
    }
    return best;
  }

  // One way between two ranks that meet there.
  [[nodiscard]] Seconds latency_of(const Meeting& meeting) const {
    const TopologyGraph& graph = *topology_.graph;
    Seconds way = graph[static_cast<std::size_t>(meeting.vertex)].latency;
    for (const std::int32_t edge : walks_.path(meeting)) {
      way += 2 * edges_[static_cast<std::size_t>(edge)].latency;
      const std::int32_t target = edge_target_[static_cast<std::size_t>(edge)];
      if (target != meeting.vertex) way += 2 * graph[static_cast<std::size_t>(target)].latency;
    }
    return way;
  }

  void describe(Tier& tier, std::int32_t level) const {
    bool named = false;
    for (std::size_t rank = 0; rank < ranks(); ++rank) {
      const Meeting* meeting = walks_.at(rank, level);
      if (meeting == nullptr) continue;
      const TopologyVertex& vertex = (*topology_.graph)[static_cast<std::size_t>(meeting->vertex)];
      const auto path = walks_.path(*meeting);
      BytesPerSecond pair(kInfinity);
      for (const std::int32_t edge : path) {
        const TopologyEdge& link = edges_[static_cast<std::size_t>(edge)];
        pair = std::min({pair, link.rate.out, link.rate.in});
      }
      if (vertex.kind == SwitchKind::kMesh) pair = std::min(pair, vertex.pair_rate);
      tier.latency = std::max(tier.latency, latency_of(*meeting));
      tier.pair_limit = std::max(tier.pair_limit, pair);
      tier.mesh = tier.mesh || vertex.kind == SwitchKind::kMesh;
      tier.reduces = (tier.reduces || !named) && vertex.reduces;
      if (named) continue;
      named = true;
      tier.name = vertex.tier_name;
      tier.link = edges_[static_cast<std::size_t>(path.back())].link;
      tier.provenance =
          topology_.provenances[static_cast<std::size_t>(edges_[static_cast<std::size_t>(path.back())].provenance)];
    }
  }

  const ClusterSpec& spec_;
  Topology topology_;
  std::vector<TopologyEdge> edges_;        // by id
  std::vector<std::int32_t> edge_target_;  // by id
  std::vector<std::int32_t> edge_users_;   // ranks whose walk takes the edge
  std::int32_t levels_ = 0;
  std::vector<std::int32_t> level_of_vertex_;
  Walks walks_;
  std::vector<std::vector<std::int32_t>> groups_;      // [level][rank]
  std::vector<std::int32_t> kept_;                     // levels that become tiers
  std::vector<std::vector<std::int32_t>> port_edges_;  // [tier][rank] -> edge id, -1: none
  std::vector<Tier> tiers_;
  // Scratch of walk().
  std::vector<std::int32_t> queue_, distance_, entered_by_, came_from_;
};

}  // namespace

Result<ClusterView> compile(const ClusterSpec& spec) {
  MOESIM_ASSIGN(Topology topology, build_topology(spec));
  return Compiler(spec, std::move(topology)).compile();
}

Result<LinkPaths> compile_links(const ClusterSpec& spec) {
  MOESIM_ASSIGN(Topology topology, build_topology(spec));
  Compiler compiler(spec, std::move(topology));
  MOESIM_TRY(compiler.compile());
  return compiler.link_paths();
}

}  // namespace moesim
