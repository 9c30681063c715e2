#include "sim/plan/layer_slots.hpp"

#include <algorithm>

namespace moesim {

LayerSlots::LayerSlots(const ExpertSlots& slots, int moe_layer, std::int64_t experts, int devices)
    : per_device_(slots.slots(experts) / devices),
      first_(static_cast<std::size_t>(experts) + 1, 0),
      home_(static_cast<std::size_t>(experts), kNoExpert) {
  for (std::int64_t slot = 0; slot < slots.slots(experts); ++slot)
    expert_of_slot_.push_back(slots.expert(moe_layer, slot));
  for (const std::int32_t expert : expert_of_slot_)
    if (expert != kNoExpert) ++first_[static_cast<std::size_t>(expert) + 1];
  for (std::size_t e = 1; e < first_.size(); ++e) first_[e] += first_[e - 1];
  slots_of_.resize(first_.back());
  std::vector<std::size_t> next(first_.begin(), first_.end() - 1);
  for (std::int64_t slot = 0; slot < this->slots(); ++slot)
    if (expert(slot) != kNoExpert)
      slots_of_[next[static_cast<std::size_t>(expert(slot))]++] = static_cast<std::int32_t>(slot);
  for (std::int32_t e = 0; e < static_cast<std::int32_t>(experts); ++e) {
    const std::span<const std::int32_t> standing = slots_of(e);
    const std::int32_t home = *std::min_element(
        standing.begin(), standing.end(), [this](std::int32_t a, std::int32_t b) { return place_of(a) < place_of(b); });
    home_[static_cast<std::size_t>(e)] = home;
    places_with_state_ = std::max(places_with_state_, place_of(home) + 1);
  }
}

namespace {

// Experts to the devices that hold them, at most so many to each: augmenting paths.
class HomeSearch {
 public:
  HomeSearch(std::span<const std::int32_t> expert_of_slot, std::int64_t experts, int devices)
      : homes_(static_cast<std::size_t>(devices)), holders_(static_cast<std::size_t>(experts)) {
    const std::size_t per_device = expert_of_slot.size() / static_cast<std::size_t>(devices);
    for (std::size_t slot = 0; slot < expert_of_slot.size(); ++slot) {
      if (expert_of_slot[slot] == kNoExpert) continue;
      std::vector<std::size_t>& holders = holders_[static_cast<std::size_t>(expert_of_slot[slot])];
      if (holders.empty() || holders.back() != slot / per_device) holders.push_back(slot / per_device);
    }
  }
  // [device], experts ascending.
  std::vector<std::vector<std::int32_t>> find() {
    std::size_t most = (holders_.size() + homes_.size() - 1) / homes_.size();
    for (std::size_t expert = 0; expert < holders_.size(); ++expert)
      while (!place(expert, most)) ++most;
    for (std::vector<std::int32_t>& homes : homes_) std::sort(homes.begin(), homes.end());
    return homes_;
  }

 private:
  bool place(std::size_t expert, std::size_t most) {
    tried_.assign(homes_.size(), false);
    return try_to_place(expert, most);
  }
  bool try_to_place(std::size_t expert, std::size_t most) {
    for (const std::size_t device : holders_[expert]) {
      if (tried_[device]) continue;
      tried_[device] = true;
      std::vector<std::int32_t>& homes = homes_[device];
      if (homes.size() < most) {
        homes.push_back(static_cast<std::int32_t>(expert));
        return true;
      }
      for (std::int32_t& other : homes)
        if (try_to_place(static_cast<std::size_t>(other), most)) {
          other = static_cast<std::int32_t>(expert);
          return true;
        }
    }
    return false;
  }

  std::vector<std::vector<std::int32_t>> homes_;   // [device]
  std::vector<std::vector<std::size_t>> holders_;  // [expert]: devices, ascending
  std::vector<bool> tried_;
};

}  // namespace

std::vector<std::int32_t> homes_first(std::span<const std::int32_t> expert_of_slot, std::int64_t experts, int devices) {
  const std::vector<std::vector<std::int32_t>> homes = HomeSearch(expert_of_slot, experts, devices).find();
  const std::size_t per_device = expert_of_slot.size() / static_cast<std::size_t>(devices);
  std::vector<std::int32_t> slots;
  for (std::size_t device = 0; device < homes.size(); ++device) {
    std::vector<std::int32_t> here = homes[device];
    for (const std::int32_t expert : expert_of_slot.subspan(device * per_device, per_device))
      if (expert != kNoExpert && std::find(here.begin(), here.end(), expert) == here.end()) here.push_back(expert);
    here.resize(per_device, kNoExpert);
    slots.insert(slots.end(), here.begin(), here.end());
  }
  return slots;
}

}  // namespace moesim
