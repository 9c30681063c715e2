#include "sim/placement/min_max_split.hpp"

#include <algorithm>

namespace moesim {
namespace {

constexpr std::int32_t kNotReached = -1;
constexpr std::int32_t kSearchStart = -2;

}  // namespace

void MinMaxSplit::prepare(const ExpertPlacement& placement, std::span<const double> totals) {
  const auto devices = static_cast<std::size_t>(placement.devices());
  fixed_.assign(devices, 0);
  used_.assign(devices, 0);
  divided_.clear();
  edges_.clear();
  owner_.clear();
  edges_into_.resize(devices);
  for (auto& edges : edges_into_) edges.clear();
  per_slot_.assign(static_cast<std::size_t>(placement.sizes().slots()), 0);
  for (int e = 0; e < placement.experts(); ++e) {
    const double total = totals[static_cast<std::size_t>(e)];
    const auto slots = placement.slots_of(e);
    const auto first = static_cast<std::int32_t>(edges_.size());
    int last_device = -1;
    for (const std::int32_t slot : slots) {
      const int device = placement.device_of_slot(slot);
      if (device == last_device) continue;
      last_device = device;
      edges_.push_back({device, slot, 0});
    }
    if (static_cast<std::int32_t>(edges_.size()) - first == 1 || total <= nothing_) {
      edges_.resize(static_cast<std::size_t>(first));
      per_slot_[static_cast<std::size_t>(slots.front())] = total;
      fixed_[static_cast<std::size_t>(placement.device_of_slot(slots.front()))] += total;
      continue;
    }
    for (auto edge = static_cast<std::size_t>(first); edge < edges_.size(); ++edge) {
      owner_.push_back(static_cast<std::int32_t>(divided_.size()));
      edges_into_[static_cast<std::size_t>(edges_[edge].device)].push_back(static_cast<std::int32_t>(edge));
    }
    divided_.push_back({e, first, static_cast<std::int32_t>(edges_.size()), total});
  }
}

// One shortest augmenting path from an expert that has something left; false when there is none.
bool MinMaxSplit::augment_from(std::size_t start, double level) {
  device_reached_by_.assign(fixed_.size(), kNotReached);
  expert_reached_from_.assign(divided_.size(), kNotReached);
  expert_reached_from_[start] = kSearchStart;
  queue_.assign(1, static_cast<std::int32_t>(start));
  for (std::size_t head = 0; head < queue_.size(); ++head) {
    const Divided& expert = divided_[static_cast<std::size_t>(queue_[head])];
    for (std::int32_t edge = expert.first_edge; edge < expert.last_edge; ++edge) {
      const std::int32_t device = edges_[static_cast<std::size_t>(edge)].device;
      const auto d = static_cast<std::size_t>(device);
      if (device_reached_by_[d] != kNotReached) continue;
      device_reached_by_[d] = edge;
      const double room = level - fixed_[d] - used_[d];
      if (room > nothing_) {
        // How much the path carries, then along it: each expert gives to one device what it takes back from another.
        double amount = std::min(room, divided_[start].left);
        for (std::int32_t at = device;;) {
          const std::int32_t into = device_reached_by_[static_cast<std::size_t>(at)];
          const auto from = static_cast<std::size_t>(owner_[static_cast<std::size_t>(into)]);
          if (from == start) break;
          const std::int32_t back = expert_reached_from_[from];
          amount = std::min(amount, edges_[static_cast<std::size_t>(back)].flow);
          at = edges_[static_cast<std::size_t>(back)].device;
        }
        used_[d] += amount;
        divided_[start].left -= amount;
        for (std::int32_t at = device;;) {
          const std::int32_t into = device_reached_by_[static_cast<std::size_t>(at)];
          edges_[static_cast<std::size_t>(into)].flow += amount;
          const auto from = static_cast<std::size_t>(owner_[static_cast<std::size_t>(into)]);
          if (from == start) return true;
          const std::int32_t back = expert_reached_from_[from];
          edges_[static_cast<std::size_t>(back)].flow -= amount;
          at = edges_[static_cast<std::size_t>(back)].device;
        }
      }
      for (const std::int32_t back : edges_into_[d]) {
        const auto other = static_cast<std::size_t>(owner_[static_cast<std::size_t>(back)]);
        if (edges_[static_cast<std::size_t>(back)].flow <= nothing_ || expert_reached_from_[other] != kNotReached)
          continue;
        expert_reached_from_[other] = back;
        queue_.push_back(static_cast<std::int32_t>(other));
      }
    }
  }
  return false;
}

// Stops at the first expert whose rest finds no room; the last search then holds the minimum cut's devices.
void MinMaxSplit::augment(double level) {
  for (std::size_t i = 0; i < divided_.size(); ++i)
    while (divided_[i].left > nothing_)
      if (!augment_from(i, level)) return;
}

// What the devices of the cut must share: their own load and all of every expert that reaches only them.
double MinMaxSplit::raised_level(double level) const {
  double load = 0;
  int devices = 0;
  for (std::size_t d = 0; d < fixed_.size(); ++d)
    if (device_reached_by_[d] != kNotReached) load += fixed_[d], ++devices;
  for (std::size_t i = 0; i < divided_.size(); ++i) {
    if (expert_reached_from_[i] == kNotReached) continue;
    load += divided_[i].left;
    for (std::int32_t edge = divided_[i].first_edge; edge < divided_[i].last_edge; ++edge)
      load += edges_[static_cast<std::size_t>(edge)].flow;
  }
  return std::max(level, devices == 0 ? level : load / devices);
}

double MinMaxSplit::divide(const ExpertPlacement& placement, std::span<const double> totals) {
  double sum = 0;
  for (const double total : totals) sum += total;
  nothing_ = sum * 1e-9;
  prepare(placement, totals);
  double level = std::max(sum / placement.devices(), *std::max_element(fixed_.begin(), fixed_.end()));
  const auto unfinished = [&] {
    return std::any_of(divided_.begin(), divided_.end(), [&](const Divided& d) { return d.left > nothing_; });
  };
  for (augment(level); unfinished(); augment(level)) {
    const double raised = raised_level(level);
    if (raised <= level) level += nothing_ * placement.devices();  // what rounding leaves over
    level = std::max(level, raised);
  }
  for (const Divided& expert : divided_) {
    for (std::int32_t edge = expert.first_edge; edge < expert.last_edge; ++edge)
      per_slot_[static_cast<std::size_t>(edges_[static_cast<std::size_t>(edge)].slot)] =
          edges_[static_cast<std::size_t>(edge)].flow;
    per_slot_[static_cast<std::size_t>(edges_[static_cast<std::size_t>(expert.first_edge)].slot)] += expert.left;
  }
  double busiest = 0;
  for (std::size_t d = 0; d < fixed_.size(); ++d) busiest = std::max(busiest, fixed_[d] + used_[d]);
  return busiest;
}

}  // namespace moesim
