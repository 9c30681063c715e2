#include "sim/placement/token_routing.hpp"

#include <algorithm>

namespace moesim {

std::vector<double> device_rows(const RoutedCopies& copies) {
  std::vector<double> rows = copies.shadowed_rows;
  for (int device = 0; device < copies.devices; ++device)
    for (int slot = 0; slot < copies.slots_per_device; ++slot)
      for (const double from : copies.into(device, slot)) rows[static_cast<std::size_t>(device)] += from;
  return rows;
}

std::vector<double> copy_matrix(const RoutedCopies& copies) {
  const auto n = static_cast<std::size_t>(copies.devices);
  std::vector<double> matrix(n * n, 0.0);
  for (std::size_t to = 0; to < n; ++to) {
    for (int slot = 0; slot < copies.slots_per_device; ++slot) {
      const auto from = copies.into(static_cast<int>(to), slot);
      for (std::size_t source = 0; source < n; ++source) matrix[source * n + to] += from[source];
    }
    matrix[to * n + to] += copies.shadowed_rows[to];
  }
  return matrix;
}

double max_over_mean(std::span<const double> rows) {
  double sum = 0;
  double most = 0;
  for (const double row : rows) sum += row, most = std::max(most, row);
  return sum > 0 ? most * static_cast<double>(rows.size()) / sum : 1;
}

template <class Count>
void TokenRouter::to_one_slot(const CountsView<Count>& counts, int expert, std::int32_t slot) {
  for (int source = 0; source < counts.devices; ++source)
    cell(slot, source) = static_cast<double>(counts.at(source, expert));
}

template <class Count>
void TokenRouter::to_copies(const CountsView<Count>& counts, int expert, const PlacementDecision& decision) {
  const ExpertPlacement& placement = decision.placement;
  const auto slots = placement.slots_of(expert);
  for (int source = 0; source < counts.devices; ++source) {
    const auto wanted = static_cast<double>(counts.at(source, expert));
    if (wanted <= 0) continue;
    // The nearest copies share alike: 0 on this device, 1 on this node, 2 anywhere.
    int nearest = 2;
    int sharers = static_cast<int>(slots.size());
    if (decision.split == TokenSplit::kLocality) {
      int on_device = 0;
      int on_node = 0;
      for (const std::int32_t slot : slots) {
        const int device = placement.device_of_slot(slot);
        on_device += device == source ? 1 : 0;
        on_node +=
            node_of_device_[static_cast<std::size_t>(device)] == node_of_device_[static_cast<std::size_t>(source)] ? 1
                                                                                                                   : 0;
      }
      if (on_device > 0)
        nearest = 0, sharers = on_device;
      else if (on_node > 0)
        nearest = 1, sharers = on_node;
    }
    for (const std::int32_t slot : slots) {
      const int device = placement.device_of_slot(slot);
      const bool takes = nearest == 2 || (nearest == 0 && device == source) ||
                         (nearest == 1 && node_of_device_[static_cast<std::size_t>(device)] ==
                                              node_of_device_[static_cast<std::size_t>(source)]);
      if (takes) cell(slot, source) = wanted / sharers;
    }
  }
}

// Own tokens first, as many as the device's share has room for; the rest in proportion to the room that is left.
template <class Count>
void TokenRouter::to_shares(const CountsView<Count>& counts, int expert, const ExpertPlacement& placement) {
  const auto slots = placement.slots_of(expert);
  const auto shares = split_.per_slot();
  double room = 0;
  for (const std::int32_t slot : slots) {
    const int device = placement.device_of_slot(slot);
    const double share = shares[static_cast<std::size_t>(slot)];
    const double own = std::min(share, static_cast<double>(counts.at(device, expert)));
    cell(slot, device) = own;
    room += share - own;
  }
  if (room <= 0) return;
  for (int source = 0; source < counts.devices; ++source) {
    double rest = static_cast<double>(counts.at(source, expert));
    for (const std::int32_t slot : slots)
      if (placement.device_of_slot(slot) == source) rest -= cell(slot, source);
    if (rest <= 0) continue;
    for (const std::int32_t slot : slots) {
      const int device = placement.device_of_slot(slot);
      const double share = shares[static_cast<std::size_t>(slot)];
      const double own = std::min(share, static_cast<double>(counts.at(device, expert)));
      cell(slot, source) += rest * (share - own) / room;
    }
  }
}

template <class Count>
const RoutedCopies& TokenRouter::route_any(const CountsView<Count>& counts, const PlacementDecision& decision) {
  const ExpertPlacement& placement = decision.placement;
  MOESIM_ASSERT(counts.devices == placement.devices() && counts.experts == placement.experts() &&
                node_of_device_.size() == static_cast<std::size_t>(counts.devices));
  copies_.devices = counts.devices;
  copies_.slots_per_device = placement.sizes().slots_per_device;
  copies_.to_slot.assign(static_cast<std::size_t>(placement.sizes().slots()) * static_cast<std::size_t>(counts.devices),
                         0.0);
  copies_.shadowed_rows.assign(static_cast<std::size_t>(counts.devices), 0.0);
  copies_.shadowed = static_cast<int>(decision.shadowed.size());
  is_shadowed_.assign(static_cast<std::size_t>(counts.experts), false);
  for (const std::int32_t expert : decision.shadowed) {
    is_shadowed_[static_cast<std::size_t>(expert)] = true;
    for (int device = 0; device < counts.devices; ++device)
      copies_.shadowed_rows[static_cast<std::size_t>(device)] += static_cast<double>(counts.at(device, expert));
  }
  const bool divided = decision.split == TokenSplit::kMinMax && !placement.is_permutation();
  if (divided) {
    totals_ = expert_totals(counts);
    for (const std::int32_t expert : decision.shadowed) totals_[static_cast<std::size_t>(expert)] = 0;
    split_.divide(placement, totals_);
  }
  for (int e = 0; e < counts.experts; ++e) {
    if (is_shadowed_[static_cast<std::size_t>(e)]) continue;
    const auto slots = placement.slots_of(e);
    if (slots.size() == 1)
      to_one_slot(counts, e, slots.front());
    else if (divided)
      to_shares(counts, e, placement);
    else
      to_copies(counts, e, decision);
  }
  return copies_;
}

const RoutedCopies& TokenRouter::route(const RecordedCounts& counts, const PlacementDecision& decision) {
  return route_any(counts, decision);
}
const RoutedCopies& TokenRouter::route(const PredictedCounts& counts, const PlacementDecision& decision) {
  return route_any(counts, decision);
}

}  // namespace moesim
