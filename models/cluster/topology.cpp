#include "models/cluster/topology.hpp"

#include <fmt/format.h>

#include <boost/graph/depth_first_search.hpp>
#include <utility>

namespace moesim {
namespace {

using Vertex = boost::graph_traits<TopologyGraph>::vertex_descriptor;
using Edge = boost::graph_traits<TopologyGraph>::edge_descriptor;

// Remembers how each vertex was reached and the first edge that closes a cycle.
class CycleFinder : public boost::default_dfs_visitor {
 public:
  CycleFinder(std::vector<Vertex>& parent, std::vector<Vertex>& cycle) : parent_(&parent), cycle_(&cycle) {}

  void tree_edge(Edge edge, const TopologyGraph& graph) {
    (*parent_)[boost::target(edge, graph)] = boost::source(edge, graph);
  }
  void back_edge(Edge edge, const TopologyGraph& graph) {
    if (!cycle_->empty()) return;
    const Vertex first = boost::target(edge, graph);
    std::vector<Vertex> backwards = {first};
    for (Vertex v = boost::source(edge, graph); v != first; v = (*parent_)[v]) backwards.push_back(v);
    backwards.push_back(first);
    cycle_->assign(backwards.rbegin(), backwards.rend());
  }

 private:
  std::vector<Vertex>* parent_;
  std::vector<Vertex>* cycle_;
};

Status check_speeds(const ClusterSpec& spec, Topology& topology) {
  const auto ranks = static_cast<std::int64_t>(topology.vertex_of_rank.size());
  for (const SpeedRule& rule : spec.slow) {
    if (rule.last_rank >= ranks)
      return invalid_input(
          fmt::format("slow rank {} does not exist: the cluster has ranks 0 to {}", rule.last_rank, ranks - 1),
          spec.source, "give ranks of this cluster, or more nodes");
    for (std::int64_t rank = rule.first_rank; rank <= rule.last_rank; ++rank)
      topology.speed_of_rank[static_cast<std::size_t>(rank)] = rule.speed;
  }
  return {};
}

}  // namespace

namespace detail {

std::int32_t add_vertex(Topology& topology, TopologyVertex vertex) {
  return static_cast<std::int32_t>(boost::add_vertex(std::move(vertex), *topology.graph));
}

void add_link(Topology& topology, std::int32_t from, std::int32_t to, TopologyEdge edge) {
  edge.id = topology.links++;
  boost::add_edge(static_cast<Vertex>(from), static_cast<Vertex>(to), edge, *topology.graph);
}

}  // namespace detail

Status check_acyclic(const TopologyGraph& graph, const std::string& where) {
  std::vector<Vertex> parent(boost::num_vertices(graph));
  std::vector<Vertex> cycle;
  boost::depth_first_search(graph, boost::visitor(CycleFinder(parent, cycle)));
  if (cycle.empty()) return {};
  std::string path;
  for (const Vertex vertex : cycle) path += (path.empty() ? "" : " -> ") + graph[vertex].name;
  return invalid_input(fmt::format("the uplinks form a cycle: {}", path), where,
                       "uplinks lead away from the devices, from leaf to spine; leave out the one that leads back");
}

Result<Topology> build_topology(const ClusterSpec& spec) {
  if (spec.ranks() > kMaxRanks)
    return invalid_input(fmt::format("{} devices are more than the {} this program handles", spec.ranks(), kMaxRanks),
                         spec.source);
  MOESIM_ASSIGN(Topology topology, spec.topology ? detail::build_from_switches(spec) : detail::build_from_groups(spec));
  MOESIM_TRY(check_speeds(spec, topology));
  MOESIM_TRY(check_acyclic(*topology.graph, spec.source));
  return topology;
}

}  // namespace moesim
