#include "sim/placement/layer_time.hpp"

#include <algorithm>

namespace moesim {
namespace {

constexpr double kLeastBusyRows = 0.5;  // a predicted count below this means none

}  // namespace

int CutReplicas::meeting_tier(int a, int b) const {
  if (a == b) return -1;
  for (std::size_t tier = 0; tier < groups.size(); ++tier)
    if (groups[tier][static_cast<std::size_t>(a)] == groups[tier][static_cast<std::size_t>(b)])
      return static_cast<int>(tier);
  return -1;
}

PortLoads::PortLoads(const LayerTimeModel& model)
    : model_(&model),
      tiers_(model.tiers),
      devices_(model.speed.size()),
      out_(model.tiers.size() * devices_),
      in_(model.tiers.size() * devices_),
      busiest_pair_(model.tiers.size()) {}

PortLoads::PortLoads(const CutReplicas& replicas)
    : replicas_(&replicas),
      tiers_(replicas.tiers),
      devices_(replicas.groups.empty() ? 1 : replicas.groups.front().size()),
      out_(replicas.tiers.size() * devices_),
      in_(replicas.tiers.size() * devices_),
      busiest_pair_(replicas.tiers.size()) {}

void PortLoads::add(int from, int to, double bytes) {
  add_at(replicas_ != nullptr ? replicas_->meeting_tier(from, to) : model_->meeting_tier(from, to), from, to, bytes);
}

void PortLoads::clear() {
  std::fill(out_.begin(), out_.end(), 0.0);
  std::fill(in_.begin(), in_.end(), 0.0);
  std::fill(busiest_pair_.begin(), busiest_pair_.end(), 0.0);
}

void PortLoads::add_at(int tier, int from, int to, double bytes) {
  if (tier < 0) return;
  const auto t = static_cast<std::size_t>(tier);
  out_[t * devices_ + static_cast<std::size_t>(from)] += bytes;
  in_[t * devices_ + static_cast<std::size_t>(to)] += bytes;
  busiest_pair_[t] = std::max(busiest_pair_[t], bytes);
}

void PortLoads::add_into(int to, std::span<const double> from, double bytes_each) {
  const std::int8_t* const tiers = model_->meets_at.data() + static_cast<std::size_t>(to) * devices_;
  for (std::size_t source = 0; source < devices_; ++source)
    if (from[source] > 0) add_at(tiers[source], static_cast<int>(source), to, from[source] * bytes_each);
}

double PortLoads::seconds() {
  double longest = 0;
  const ExchangeTier* slowest = nullptr;
  for (std::size_t p = 0; p < tiers_.size(); ++p) {
    const ExchangeTier& tier = tiers_[p];
    port_out_.assign(tier.out_s_per_byte.size(), 0.0);
    port_in_.assign(tier.in_s_per_byte.size(), 0.0);
    for (std::size_t t = p; t < tiers_.size(); ++t) {
      if (tiers_[t].first_port_tier > static_cast<int>(p)) continue;
      for (std::size_t d = 0; d < devices_; ++d) {
        const auto port = static_cast<std::size_t>(tier.port_of_device[d]);
        port_out_[port] += out_[t * devices_ + d];
        port_in_[port] += in_[t * devices_ + d];
      }
    }
    double busiest = tier.pair_s_per_byte * busiest_pair_[p];
    for (std::size_t port = 0; port < port_out_.size(); ++port)
      busiest =
          std::max({busiest, port_out_[port] * tier.out_s_per_byte[port], port_in_[port] * tier.in_s_per_byte[port]});
    if (busiest > longest) longest = busiest, slowest = &tier;
  }
  return slowest == nullptr ? 0 : slowest->curve.at(longest);
}

LayerTimer::LayerTimer(const LayerTimeModel& model) : model_(&model), router_(model.node_of_device), ports_(model) {}

double LayerTimer::exchange_seconds(const RoutedCopies& copies) {
  const double row = model_->row.value();
  double seconds = 0;
  if (model_->rounds == ExchangeRounds::kPerSlot) {
    for (int slot = 0; slot < copies.slots_per_device; ++slot) {
      ports_.clear();
      for (int to = 0; to < copies.devices; ++to) ports_.add_into(to, copies.into(to, slot), row);
      seconds += ports_.seconds();
    }
    return seconds;
  }
  ports_.clear();
  for (int to = 0; to < copies.devices; ++to) {
    arriving_.assign(static_cast<std::size_t>(copies.devices), 0.0);
    for (int slot = 0; slot < copies.slots_per_device; ++slot) {
      const auto from = copies.into(to, slot);
      for (std::size_t source = 0; source < arriving_.size(); ++source) arriving_[source] += from[source];
    }
    ports_.add_into(to, arriving_, row);
  }
  return ports_.seconds();
}

LayerTime LayerTimer::time_of(const RoutedCopies& copies) {
  double busiest = 0;
  double most_rows = 0;
  double all_rows = 0;
  for (int device = 0; device < copies.devices; ++device) {
    const auto d = static_cast<std::size_t>(device);
    double rows = copies.shadowed_rows[d];
    int busy = rows >= kLeastBusyRows ? copies.shadowed : 0;
    for (int slot = 0; slot < copies.slots_per_device; ++slot) {
      double arrived = 0;
      for (const double from : copies.into(device, slot)) arrived += from;
      rows += arrived;
      busy += arrived >= kLeastBusyRows ? 1 : 0;
    }
    busiest = std::max(busiest, (rows + model_->rows_per_busy_expert * busy) / model_->speed[d]);
    most_rows = std::max(most_rows, rows);
    all_rows += rows;
  }
  LayerTime time;
  time.compute = busiest > 0 ? Seconds(model_->compute.at(busiest)) : Seconds(0);
  time.exchange = Seconds(model_->exchanges * exchange_seconds(copies));
  time.rest = model_->fixed + model_->shadow * copies.shadowed;
  time.max_over_mean = all_rows > 0 ? most_rows * copies.devices / all_rows : 1;
  return time;
}

}  // namespace moesim
