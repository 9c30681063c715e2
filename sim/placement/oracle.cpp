#include "sim/placement/oracle.hpp"

#include <algorithm>
#include <functional>
#include <limits>
#include <set>

namespace moesim {
namespace {

// Bytes per second that all ports of a tier that these devices use take out together.
double way_out(const ExchangeTier& tier, const std::vector<int>& devices) {
  std::set<std::int32_t> ports;
  for (const int d : devices) ports.insert(tier.port_of_device[static_cast<std::size_t>(d)]);
  double rate = 0;
  for (const std::int32_t port : ports) rate += 1 / tier.out_s_per_byte[static_cast<std::size_t>(port)];
  return rate;
}

}  // namespace

OracleTimer::OracleTimer(const LayerTimeModel& model, int slots_per_device)
    : model_(&model), slots_per_device_(slots_per_device) {
  const int outermost = static_cast<int>(model.tiers.size()) - 1;
  if (outermost < 0) return;
  for (int d = 0; d < model.devices(); ++d) add_domain({d}, 0);
  if (outermost == 0) return;
  std::vector<bool> taken(model.speed.size(), false);
  for (int first = 0; first < model.devices(); ++first) {
    if (taken[static_cast<std::size_t>(first)]) continue;
    std::vector<int> joined{first};
    taken[static_cast<std::size_t>(first)] = true;
    for (std::size_t i = 0; i < joined.size(); ++i)
      for (int d = 0; d < model.devices(); ++d)
        if (!taken[static_cast<std::size_t>(d)] && model.meeting_tier(joined[i], d) < outermost) {
          taken[static_cast<std::size_t>(d)] = true;
          joined.push_back(d);
        }
    add_domain(std::move(joined), outermost);
  }
}

void OracleTimer::add_domain(std::vector<int> devices, int first_meeting_tier) {
  Domain domain;
  const int tiers = static_cast<int>(model_->tiers.size());
  if (first_meeting_tier == 0) {  // what leaves a device uses a port of the tier where it meets its goal
    double rate = 0;
    for (int t = 0; t < tiers; ++t) rate += way_out(model_->tiers[static_cast<std::size_t>(t)], devices);
    domain.bytes_per_s = rate;
  } else {  // what crosses the outermost tier uses a port at every tier on the way
    domain.bytes_per_s = std::numeric_limits<double>::infinity();
    for (int p = model_->tiers.back().first_port_tier; p < tiers; ++p)
      domain.bytes_per_s = std::min(domain.bytes_per_s, way_out(model_->tiers[static_cast<std::size_t>(p)], devices));
  }
  domain.devices = std::move(devices);
  domains_.push_back(std::move(domain));
}

void OracleTimer::prepare(Domain& domain, const RecordedCounts& counts) {
  domain.kept.assign(static_cast<std::size_t>(counts.experts), 0.0);
  for (const int d : domain.devices) {
    const auto row = counts.of(d);
    for (std::size_t e = 0; e < row.size(); ++e) domain.kept[e] += row[e];
  }
  std::sort(domain.kept.begin(), domain.kept.end(), std::greater<>());
  double sum = 0;
  for (double& kept : domain.kept) sum += kept, kept = sum;
}

// Seconds of the domain's ports when each of its devices keeps the tokens of its slots and of `shadowed` more experts.
double OracleTimer::port_seconds(const Domain& domain, std::size_t shadowed) const {
  const std::size_t held =
      std::min(domain.kept.size(), domain.devices.size() * static_cast<std::size_t>(slots_per_device_) + shadowed);
  return (domain.kept.back() - domain.kept[held - 1]) * model_->row.value() / domain.bytes_per_s;
}

Seconds OracleTimer::time(const RecordedCounts& counts) {
  for (Domain& domain : domains_) prepare(domain, counts);
  const std::vector<double> totals = expert_totals(counts);
  double rows = 0;
  int busy = 0;
  // A copy of an expert that has this many rows is surely busy, however they are divided.
  const double surely_busy = 0.5 * model_->devices() * slots_per_device_;
  for (const double total : totals) rows += total, busy += total >= surely_busy ? 1 : 0;
  double speed = 0;
  for (const double s : model_->speed) speed += s;
  const double work = (rows + model_->rows_per_busy_expert * busy) / speed;
  const Seconds floor = model_->fixed + Seconds(work > 0 ? model_->compute.at(work) : 0);

  Seconds best(std::numeric_limits<double>::infinity());
  for (std::size_t shadowed = 0; shadowed <= totals.size(); ++shadowed) {
    const Seconds price = floor + model_->shadow * static_cast<double>(shadowed);
    if (price >= best) break;
    double port = 0;
    for (const Domain& domain : domains_) port = std::max(port, port_seconds(domain, shadowed));
    double exchange = 0;
    if (port > 0) {
      exchange = std::numeric_limits<double>::infinity();
      for (const ExchangeTier& tier : model_->tiers) exchange = std::min(exchange, tier.curve.at(port));
    }
    best = std::min(best, price + Seconds(model_->exchanges * exchange));
  }
  return best;
}

}  // namespace moesim
