#include "sim/placement/token_exchange.hpp"

#include <algorithm>

#include "sim/placement/fold.hpp"

namespace moesim {
namespace {

// [node][source]: the device of the node in the place that the source has in its own.
std::vector<std::int32_t> entry_devices(const std::vector<std::int32_t>& node_of_device) {
  std::vector<std::vector<std::int32_t>> devices_of_node;
  std::vector<std::size_t> place;
  for (std::size_t d = 0; d < node_of_device.size(); ++d) {
    const auto node = static_cast<std::size_t>(node_of_device[d]);
    if (devices_of_node.size() <= node) devices_of_node.resize(node + 1);
    place.push_back(devices_of_node[node].size());
    devices_of_node[node].push_back(static_cast<std::int32_t>(d));
  }
  std::vector<std::int32_t> entry;
  for (const std::vector<std::int32_t>& devices : devices_of_node)
    for (const std::size_t at : place) entry.push_back(devices.empty() ? -1 : devices[at % devices.size()]);
  return entry;
}

}  // namespace

TokenExchange::TokenExchange(const LayerTimeModel& model, const TokenSet& tokens, const PlacementDecision& decision)
    : model_(&model),
      tokens_(&tokens),
      devices_(model.speed.size()),
      device_of_(static_cast<std::size_t>(decision.placement.experts()), -1),
      entry_(entry_devices(model.node_of_device)) {
  std::size_t ports = 0;
  bool mesh = false;
  for (const ExchangeTier& tier : model.tiers) {
    first_port_.push_back(ports);
    ports += tier.out_s_per_byte.size();
    mesh = mesh || tier.pair_s_per_byte > 0;
  }
  out_.assign(ports, 0);
  in_.assign(ports, 0);
  if (mesh) pairs_.assign(devices_ * devices_, 0);
  std::vector<std::vector<std::int32_t>> named(device_of_.size());
  for (std::size_t token = 0; token < tokens.size(); ++token)
    for (const std::int32_t expert : tokens.of(token)) {
      if (expert < 0) continue;
      auto& list = named[static_cast<std::size_t>(expert)];
      if (list.empty() || list.back() != static_cast<std::int32_t>(token))
        list.push_back(static_cast<std::int32_t>(token));
    }
  for (const auto& list : named) {
    first_token_.push_back(static_cast<std::int32_t>(token_of_.size()));
    token_of_.insert(token_of_.end(), list.begin(), list.end());
  }
  first_token_.push_back(static_cast<std::int32_t>(token_of_.size()));
  const std::vector<std::int32_t> devices = devices_of_experts(decision);
  for (std::size_t e = 0; e < devices.size(); ++e) put(static_cast<std::int32_t>(e), devices[e], 1);
}

void TokenExchange::move(std::int32_t from, std::int32_t to, int sign) {
  if (from == to) return;
  const int meeting = model_->meeting_tier(from, to);
  if (meeting < 0) return;
  for (auto p = static_cast<std::size_t>(model_->tiers[static_cast<std::size_t>(meeting)].first_port_tier);
       p <= static_cast<std::size_t>(meeting); ++p) {
    const std::vector<std::int32_t>& port = model_->tiers[p].port_of_device;
    out_[first_port_[p] + static_cast<std::size_t>(port[static_cast<std::size_t>(from)])] += sign;
    in_[first_port_[p] + static_cast<std::size_t>(port[static_cast<std::size_t>(to)])] += sign;
  }
  if (!pairs_.empty()) pairs_[static_cast<std::size_t>(from) * devices_ + static_cast<std::size_t>(to)] += sign;
}

// While it is looked at the expert stands nowhere, so others of the token decide whether its device or node is visited anyway.
void TokenExchange::put(std::int32_t expert, std::int32_t device, int sign) {
  if (expert == kEmptySlot || device < 0) return;
  const auto e = static_cast<std::size_t>(expert);
  device_of_[e] = -1;
  const std::vector<std::int32_t>& node_of = model_->node_of_device;
  const std::int32_t node = node_of[static_cast<std::size_t>(device)];
  const std::int32_t* const entry = entry_.data() + static_cast<std::size_t>(node) * devices_;
  const auto k = static_cast<std::size_t>(tokens_->top_k);
  for (std::int32_t i = first_token_[e]; i < first_token_[e + 1]; ++i) {
    const auto token = static_cast<std::size_t>(token_of_[static_cast<std::size_t>(i)]);
    const std::int32_t* const chosen = tokens_->experts.data() + token * k;
    bool on_device = false;
    bool on_node = false;
    for (std::size_t c = 0; c < k; ++c) {
      const std::int32_t other = chosen[c] < 0 ? -1 : device_of_[static_cast<std::size_t>(chosen[c])];
      if (other < 0) continue;
      on_device = on_device || other == device;
      on_node = on_node || node_of[static_cast<std::size_t>(other)] == node;
    }
    if (on_device) continue;
    const std::int32_t source = tokens_->sources[token];
    if (node_of[static_cast<std::size_t>(source)] == node) {
      move(source, device, sign);
      continue;
    }
    const std::int32_t enters = entry[source];
    move(enters, device, sign);
    if (!on_node) move(source, enters, sign);
  }
  if (sign > 0) device_of_[e] = device;
}

void TokenExchange::swap(std::int32_t expert_a, std::int32_t device_a, std::int32_t expert_b, std::int32_t device_b) {
  put(expert_a, device_a, -1);
  put(expert_b, device_b, -1);
  put(expert_a, device_b, 1);
  put(expert_b, device_a, 1);
}

template <class Fold>
double TokenExchange::folded(double tokens) const {
  if (tokens_->size() == 0) return 0;
  const double bytes = tokens / static_cast<double>(tokens_->size()) * model_->row.value();
  double longest = 0;
  std::size_t slowest = 0;
  for (std::size_t t = 0; t < model_->tiers.size(); ++t) {
    const ExchangeTier& tier = model_->tiers[t];
    Fold busiest;
    for (std::size_t port = 0; port < tier.out_s_per_byte.size(); ++port)
      busiest.add(std::max(static_cast<double>(out_[first_port_[t] + port]) * bytes * tier.out_s_per_byte[port],
                           static_cast<double>(in_[first_port_[t] + port]) * bytes * tier.in_s_per_byte[port]));
    if (tier.pair_s_per_byte > 0)
      for (std::size_t pair = 0; pair < pairs_.size(); ++pair)
        if (model_->meets_at[pair] == static_cast<std::int8_t>(t))
          busiest.add(static_cast<double>(pairs_[pair]) * bytes * tier.pair_s_per_byte);
    if (busiest.result() > longest) longest = busiest.result(), slowest = t;
  }
  return longest > 0 ? model_->tiers[slowest].curve.at(longest) : 0;
}

double TokenExchange::seconds(double tokens) const { return folded<LargestOf>(tokens); }
double TokenExchange::smoothed(double tokens) const { return folded<NormOfOrder8>(tokens); }

}  // namespace moesim
