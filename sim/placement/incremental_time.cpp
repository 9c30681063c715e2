#include "sim/placement/incremental_time.hpp"

#include <algorithm>
#include <cmath>

#include "sim/placement/fold.hpp"

namespace moesim {
namespace {

constexpr double kPartsOfACopy = 256;
constexpr std::int64_t kHalfARow = 128;  // the least that makes an expert busy, as for LayerTimer

}  // namespace

IncrementalLayerTime::IncrementalLayerTime(const LayerTimeModel& model, const PredictedCounts& counts,
                                           const ExpertPlacement& placement)
    : model_(&model), sizes_(placement.sizes()) {
  MOESIM_ASSERT(placement.is_permutation() && counts.devices == sizes_.devices && counts.experts == sizes_.experts);
  const auto devices = static_cast<std::size_t>(sizes_.devices);
  if (model.rounds == ExchangeRounds::kPerSlot) rounds_ = static_cast<std::size_t>(sizes_.slots_per_device);
  bool mesh = false;
  for (const ExchangeTier& tier : model.tiers) {
    first_port_.push_back(ports_of_round_);
    ports_of_round_ += tier.out_s_per_byte.size();
    mesh = mesh || tier.pair_s_per_byte > 0;
  }
  out_.assign(rounds_ * ports_of_round_, 0);
  in_.assign(rounds_ * ports_of_round_, 0);
  if (mesh) pairs_.assign(rounds_ * devices * devices, 0);
  rows_.assign(devices, 0);
  busy_.assign(devices, 0);
  shadowed_rows_.assign(devices, 0);
  totals_.assign(static_cast<std::size_t>(sizes_.experts), 0);
  counts_.resize(totals_.size() * devices);
  for (std::size_t e = 0; e < totals_.size(); ++e)
    for (std::size_t source = 0; source < devices; ++source) {
      const std::int64_t count = std::llround(kPartsOfACopy * counts.at(static_cast<int>(source), static_cast<int>(e)));
      counts_[e * devices + source] = count;
      totals_[e] += count;
    }
  const auto slots = placement.expert_of_slot();
  expert_of_slot_.assign(slots.begin(), slots.end());
  for (int slot = 0; slot < sizes_.slots(); ++slot)
    put(slot, expert_of_slot_[static_cast<std::size_t>(slot)], Change::kAdd);
}

void IncrementalLayerTime::put(int slot, std::int32_t expert, Change change) {
  if (expert == kEmptySlot) return;
  const auto e = static_cast<std::size_t>(expert);
  const std::size_t to = device_of(slot);
  const std::int64_t sign = static_cast<std::int64_t>(change);
  rows_[to] += sign * totals_[e];
  busy_[to] += totals_[e] >= kHalfARow ? sign : 0;
  const std::size_t round = rounds_ == 1 ? 0 : static_cast<std::size_t>(slot % sizes_.slots_per_device);
  const auto devices = static_cast<std::size_t>(sizes_.devices);
  const std::int64_t* const counts = counts_.data() + e * devices;
  std::int64_t* const out = out_.data() + round * ports_of_round_;
  std::int64_t* const in = in_.data() + round * ports_of_round_;
  for (std::size_t from = 0; from < devices; ++from) {
    const std::int8_t meeting = model_->meets_at[to * devices + from];
    if (meeting < 0 || counts[from] == 0) continue;
    const std::int64_t amount = sign * counts[from];
    for (auto p = static_cast<std::size_t>(model_->tiers[static_cast<std::size_t>(meeting)].first_port_tier);
         p <= static_cast<std::size_t>(meeting); ++p) {
      const std::vector<std::int32_t>& port = model_->tiers[p].port_of_device;
      out[first_port_[p] + static_cast<std::size_t>(port[from])] += amount;
      in[first_port_[p] + static_cast<std::size_t>(port[to])] += amount;
    }
    if (!pairs_.empty()) pairs_[(round * devices + from) * devices + to] += amount;
  }
}

void IncrementalLayerTime::swap(int slot_a, int slot_b) {
  std::int32_t& a = expert_of_slot_[static_cast<std::size_t>(slot_a)];
  std::int32_t& b = expert_of_slot_[static_cast<std::size_t>(slot_b)];
  put(slot_a, a, Change::kRemove);
  put(slot_b, b, Change::kRemove);
  std::swap(a, b);
  put(slot_a, a, Change::kAdd);
  put(slot_b, b, Change::kAdd);
}

void IncrementalLayerTime::shadow(int slot) {
  const std::int32_t expert = expert_of_slot_[static_cast<std::size_t>(slot)];
  MOESIM_ASSERT(expert != kEmptySlot);
  put(slot, expert, Change::kRemove);
  const auto devices = static_cast<std::size_t>(sizes_.devices);
  for (std::size_t d = 0; d < devices; ++d) {
    const std::int64_t own = counts_[static_cast<std::size_t>(expert) * devices + d];
    rows_[d] += own;
    shadowed_rows_[d] += own;
  }
  ++shadowed_;
}

template <class Fold>
double IncrementalLayerTime::exchange_round(std::size_t round) const {
  const double row = model_->row.value() / kPartsOfACopy;
  const auto devices = static_cast<std::size_t>(sizes_.devices);
  double longest = 0;
  std::size_t slowest = 0;
  for (std::size_t t = 0; t < model_->tiers.size(); ++t) {
    const ExchangeTier& tier = model_->tiers[t];
    const std::size_t base = round * ports_of_round_ + first_port_[t];
    Fold busiest;
    for (std::size_t port = 0; port < tier.out_s_per_byte.size(); ++port)
      busiest.add(std::max(static_cast<double>(out_[base + port]) * row * tier.out_s_per_byte[port],
                           static_cast<double>(in_[base + port]) * row * tier.in_s_per_byte[port]));
    if (tier.pair_s_per_byte > 0)
      for (std::size_t pair = 0; pair < devices * devices; ++pair)
        if (model_->meets_at[pair] == static_cast<std::int8_t>(t))
          busiest.add(static_cast<double>(pairs_[round * devices * devices + pair]) * row * tier.pair_s_per_byte);
    if (busiest.result() > longest) longest = busiest.result(), slowest = t;
  }
  return longest > 0 ? model_->tiers[slowest].curve.at(longest) : 0;
}

template <class Fold>
Seconds IncrementalLayerTime::folded() const {
  Fold busiest;
  for (std::size_t d = 0; d < rows_.size(); ++d) {
    const std::int64_t busy = busy_[d] + (shadowed_rows_[d] >= kHalfARow ? shadowed_ : 0);
    busiest.add(
        (static_cast<double>(rows_[d]) / kPartsOfACopy + model_->rows_per_busy_expert * static_cast<double>(busy)) /
        model_->speed[d]);
  }
  double exchange = 0;
  for (std::size_t round = 0; round < rounds_; ++round) exchange += exchange_round<Fold>(round);
  const double work = busiest.result();
  return model_->fixed + model_->shadow * shadowed_ +
         Seconds((work > 0 ? model_->compute.at(work) : 0) + model_->exchanges * exchange);
}

Seconds IncrementalLayerTime::time() const { return folded<LargestOf>(); }
Seconds IncrementalLayerTime::smoothed() const { return folded<NormOfOrder8>(); }

}  // namespace moesim
