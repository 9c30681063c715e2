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
  std::vector<int> all;
  for (int d = 0; d < model.devices(); ++d) {
    add_domain({d}, 0);
    all.push_back(d);
  }
  device_bytes_per_s_ = ports_of(all, 0);
  outermost_bytes_per_s_ = ports_of(all, outermost);
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
  domain.bytes_per_s = ports_of(devices, first_meeting_tier);
  domain.devices = std::move(devices);
  domains_.push_back(std::move(domain));
}

// Bytes per second that leave these devices: for any goal, or for one beyond the outermost tier.
double OracleTimer::ports_of(const std::vector<int>& devices, int first_meeting_tier) const {
  const int tiers = static_cast<int>(model_->tiers.size());
  if (first_meeting_tier == 0) {  // what leaves a device uses a port of the tier where it meets its goal
    double rate = 0;
    for (int t = 0; t < tiers; ++t) rate += way_out(model_->tiers[static_cast<std::size_t>(t)], devices);
    return rate;
  }
  double rate = std::numeric_limits<double>::infinity();
  for (int p = model_->tiers.back().first_port_tier; p < tiers; ++p)  // and there one at every tier on the way
    rate = std::min(rate, way_out(model_->tiers[static_cast<std::size_t>(p)], devices));
  return rate;
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
  const std::size_t held = std::min(domain.kept.size(), slots_of(domain) + shadowed);
  return (domain.kept.back() - domain.kept[held - 1]) * model_->row.value() / domain.bytes_per_s;
}

TokenNeeds OracleTimer::needs_of(const TokenSet& tokens, int experts) const {
  const auto devices = static_cast<std::size_t>(model_->devices());
  TokenNeeds needs{
      tokens.size(), tokens.top_k, NamedExperts(tokens, experts, std::vector<bool>(devices, true)), {}, 0, 0};
  double at_home = 0;    // visits of a token's own device
  double on_side = 0;    // and of its own side
  std::size_t side = 0;  // room on the largest
  for (std::size_t i = 0; i < domains_.size(); ++i) {
    const Domain& domain = domains_[i];
    std::vector<bool> own(devices, false);
    for (const int d : domain.devices) own[static_cast<std::size_t>(d)] = true;
    needs.of_domain.emplace_back(tokens, experts, own);
    (i < devices ? at_home : on_side) += needs.of_domain.back().most_touching(slots_of(domain));
    if (i >= devices) side = std::max(side, slots_of(domain));
  }
  needs.sent = least_visits(tokens, experts, static_cast<std::size_t>(slots_per_device_)) - at_home;
  if (side > 0) needs.outermost = least_visits(tokens, experts, side) - on_side;
  return needs;
}

double OracleTimer::token_port_seconds(const TokenNeeds& needs, std::size_t shadowed) const {
  const double spared = needs.all.most_named(shadowed);
  double busiest = 0;
  for (std::size_t i = 0; i < domains_.size(); ++i)
    busiest =
        std::max(busiest, needs.of_domain[i].least_leaving(slots_of(domains_[i]) + shadowed) / domains_[i].bytes_per_s);
  if (domains_.empty()) return 0;
  return std::max(
      {busiest, (needs.sent - spared) / device_bytes_per_s_, (needs.outermost - spared) / outermost_bytes_per_s_});
}

Seconds OracleTimer::time(const RecordedCounts& counts) {
  for (Domain& domain : domains_) prepare(domain, counts);
  return least(counts, [this](std::size_t shadowed) {
    double port = 0;
    for (const Domain& domain : domains_) port = std::max(port, port_seconds(domain, shadowed));
    return port;
  });
}

Seconds OracleTimer::time(const RecordedCounts& counts, const TokenNeeds& needs) const {
  double copies = 0;
  for (const std::int32_t count : counts.counts) copies += count;
  const double bytes =
      needs.rows == 0 ? 0 : copies / needs.top_k / static_cast<double>(needs.rows) * model_->row.value();
  return least(counts, [&](std::size_t shadowed) { return token_port_seconds(needs, shadowed) * bytes; });
}

template <class Port>
Seconds OracleTimer::least(const RecordedCounts& counts, const Port& port_seconds_of) const {
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

  // Without room for copies the hottest expert that is not shadowed is computed on one device.
  std::vector<double> alone(totals.size() + 1, 0.0);
  if (model_->devices() * slots_per_device_ == counts.experts) {
    std::copy(totals.begin(), totals.end(), alone.begin());
    std::sort(alone.begin(), alone.end(), std::greater<>());
  }
  const double fastest = *std::max_element(model_->speed.begin(), model_->speed.end());

  Seconds best(std::numeric_limits<double>::infinity());
  for (std::size_t shadowed = 0; shadowed <= totals.size(); ++shadowed) {
    const Seconds shadows = model_->shadow * static_cast<double>(shadowed);
    if (floor + shadows >= best) break;
    const double busiest = std::max(work, alone[shadowed] / fastest);
    const Seconds price = model_->fixed + Seconds(busiest > 0 ? model_->compute.at(busiest) : 0) + shadows;
    const double port = port_seconds_of(shadowed);
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
