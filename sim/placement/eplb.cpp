#include "sim/placement/eplb.hpp"

#include <algorithm>
#include <numeric>
#include <vector>

#include "sim/placement/greedy_placement.hpp"

namespace moesim {
namespace {

// Items into packs of equal number; packs[p] lists items in the order of their arrival.
std::vector<std::vector<std::int32_t>> pack_evenly(const std::vector<double>& loads, int packs) {
  const auto count = static_cast<std::size_t>(packs);
  const std::size_t places = loads.size() / count;
  std::vector<std::vector<std::int32_t>> result(count);
  if (places == 1) {
    for (std::size_t i = 0; i < count; ++i) result[i].push_back(static_cast<std::int32_t>(i));
    return result;
  }
  std::vector<double> load(count, 0.0);
  for (const std::int32_t item : by_falling_load(loads)) {
    std::size_t chosen = count;
    for (std::size_t p = 0; p < count; ++p)
      if (result[p].size() < places && (chosen == count || load[p] < load[chosen])) chosen = p;
    result[chosen].push_back(item);
    load[chosen] += loads[static_cast<std::size_t>(item)];
  }
  return result;
}

// The items themselves first, then the copies in the order in which they were added.
std::vector<std::int32_t> add_copies(const std::vector<double>& loads, std::size_t wanted) {
  std::vector<std::int32_t> copies(loads.size());
  std::iota(copies.begin(), copies.end(), 0);
  std::vector<int> count(loads.size(), 1);
  while (copies.size() < wanted) {
    std::size_t most = 0;
    for (std::size_t i = 1; i < loads.size(); ++i)
      if (loads[i] / count[i] > loads[most] / count[most]) most = i;
    copies.push_back(static_cast<std::int32_t>(most));
    ++count[most];
  }
  return copies;
}

std::vector<double> loads_per_copy(const std::vector<double>& loads, const std::vector<std::int32_t>& copies) {
  std::vector<int> count(loads.size(), 0);
  for (const std::int32_t item : copies) ++count[static_cast<std::size_t>(item)];
  std::vector<double> result;
  result.reserve(copies.size());
  for (const std::int32_t item : copies)
    result.push_back(loads[static_cast<std::size_t>(item)] / count[static_cast<std::size_t>(item)]);
  return result;
}

}  // namespace

bool divides_into_nodes(const EplbSizes& sizes) {
  return sizes.groups > 0 && sizes.nodes > 0 && sizes.placement.experts % sizes.groups == 0 &&
         sizes.groups % sizes.nodes == 0 && sizes.placement.devices % sizes.nodes == 0;
}

ExpertPlacement eplb_placement(std::span<const double> loads, const EplbSizes& given) {
  EplbSizes sizes = given;
  if (!divides_into_nodes(sizes)) sizes.groups = sizes.nodes = 1;
  const int group_size = sizes.placement.experts / sizes.groups;
  std::vector<double> group_loads(static_cast<std::size_t>(sizes.groups), 0.0);
  for (std::size_t e = 0; e < loads.size(); ++e) group_loads[e / static_cast<std::size_t>(group_size)] += loads[e];

  std::vector<std::int32_t> slots;
  slots.reserve(static_cast<std::size_t>(sizes.placement.slots()));
  const std::size_t slots_of_node = static_cast<std::size_t>(sizes.placement.slots() / sizes.nodes);
  for (const std::vector<std::int32_t>& groups : pack_evenly(group_loads, sizes.nodes)) {
    std::vector<std::int32_t> experts;  // of this node, as its number -> the model's
    std::vector<double> node_loads;
    for (const std::int32_t group : groups)
      for (int i = 0; i < group_size; ++i) {
        experts.push_back(group * group_size + i);
        node_loads.push_back(loads[static_cast<std::size_t>(experts.back())]);
      }
    const std::vector<std::int32_t> copies = add_copies(node_loads, slots_of_node);
    const std::vector<double> copy_loads = loads_per_copy(node_loads, copies);
    for (const std::vector<std::int32_t>& device : pack_evenly(copy_loads, sizes.placement.devices / sizes.nodes))
      for (const std::int32_t copy : device)
        slots.push_back(experts[static_cast<std::size_t>(copies[static_cast<std::size_t>(copy)])]);
  }
  Result<ExpertPlacement> placement = ExpertPlacement::make(sizes.placement, std::move(slots));
  MOESIM_ASSERT(placement.has_value());
  return std::move(*placement);
}

}  // namespace moesim
