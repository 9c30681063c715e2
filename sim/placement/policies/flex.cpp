// FlexMoE's planner (SIGMOD'23): from the placement in force, one step at a time, while the modelled time falls by it:
//   expand   one more copy of the expert with the most load per copy, in an empty slot or in that of a copy which its expert can
//            best do without (shrink), on the least loaded device that has one
//   shrink   the copy that its expert can best do without is given up
//   migrate  the heaviest copy of the busiest device changes places with the lightest of the least loaded one
// The time counts what the copies' gradients cost. At most as many steps as there are devices, and 16.
#include <algorithm>
#include <optional>

#include "sim/placement/greedy_placement.hpp"
#include "sim/placement/policies/policies.hpp"
#include "sim/placement/switch_plan.hpp"

namespace moesim {
namespace {

constexpr int kMostSteps = 16;

using Slots = std::vector<std::int32_t>;

class FlexSearch {
 public:
  FlexSearch(const PlacementQuestion& question)
      : question_(question),
        timer_(question.model),
        loads_(expert_totals(question.predicted)),
        best_(question.current) {
    best_.shadowed.clear();
    best_.split = TokenSplit::kLocality;
    least_ = time_of(best_);
  }

  PlacementDecision run() {
    const int steps = std::min(kMostSteps, best_.placement.devices());
    for (int step = 0; step < steps; ++step) {
      bool better = try_slots(expanded());
      better = try_slots(shrunk()) || better;
      if (!try_slots(migrated()) && !better) break;
    }
    return best_;
  }

 private:
  [[nodiscard]] double per_copy(std::int32_t expert) const {
    return loads_[static_cast<std::size_t>(expert)] / best_.placement.copies(expert);
  }

  // Of one micro-batch, with its share of what copies cost.
  [[nodiscard]] Seconds time_of(const PlacementDecision& decision) {
    return timer_.time(question_.predicted, decision).total() +
           copies_seconds(question_.model, decision.placement, first_homes(decision.placement)) /
               question_.micro_batches;
  }

  bool try_slots(const std::optional<Slots>& slots) {
    if (!slots) return false;
    Result<ExpertPlacement> placement = ExpertPlacement::make(best_.placement.sizes(), *slots);
    MOESIM_ASSERT(placement.has_value());
    PlacementDecision trial{std::move(*placement), {}, TokenSplit::kLocality};
    const Seconds time = time_of(trial);
    if (time >= least_) return false;
    least_ = time;
    best_ = std::move(trial);
    return true;
  }

  [[nodiscard]] std::optional<Slots> expanded() const {
    const ExpertPlacement& placement = best_.placement;
    std::int32_t hot = 0;
    for (std::int32_t e = 1; e < placement.experts(); ++e)
      if (per_copy(e) > per_copy(hot)) hot = e;
    const std::vector<double> device = device_loads(loads_, placement);
    std::optional<std::size_t> chosen;
    double chosen_load = 0;
    for (std::size_t slot = 0; slot < placement.expert_of_slot().size(); ++slot) {
      const std::int32_t there = placement.expert_of_slot()[slot];
      const bool free = there == kEmptySlot || (there != hot && placement.copies(there) > 1);
      const int d = placement.device_of_slot(static_cast<int>(slot));
      if (!free || placement.holds(d, hot)) continue;
      const double left = device[static_cast<std::size_t>(d)] - (there == kEmptySlot ? 0 : per_copy(there));
      if (!chosen || left < chosen_load) chosen = slot, chosen_load = left;
    }
    if (!chosen) return std::nullopt;
    Slots slots(placement.expert_of_slot().begin(), placement.expert_of_slot().end());
    slots[*chosen] = hot;
    return slots;
  }

  [[nodiscard]] std::optional<Slots> shrunk() const {
    const ExpertPlacement& placement = best_.placement;
    std::optional<std::size_t> chosen;
    double chosen_load = 0;
    for (std::size_t slot = 0; slot < placement.expert_of_slot().size(); ++slot) {
      const std::int32_t there = placement.expert_of_slot()[slot];
      if (there == kEmptySlot || placement.copies(there) == 1) continue;
      if (!chosen || per_copy(there) < chosen_load) chosen = slot, chosen_load = per_copy(there);
    }
    if (!chosen) return std::nullopt;
    Slots slots(placement.expert_of_slot().begin(), placement.expert_of_slot().end());
    slots[*chosen] = kEmptySlot;
    return slots;
  }

  // The slot of the device with the most or the least load, an empty one having none.
  [[nodiscard]] std::size_t extreme_slot(int device, bool heaviest) const {
    const auto here = best_.placement.on(device);
    const auto weight = [&](std::int32_t e) { return e == kEmptySlot ? 0.0 : per_copy(e); };
    std::size_t chosen = 0;
    for (std::size_t i = 1; i < here.size(); ++i)
      if (heaviest ? weight(here[i]) > weight(here[chosen]) : weight(here[i]) < weight(here[chosen])) chosen = i;
    return static_cast<std::size_t>(device * best_.placement.sizes().slots_per_device) + chosen;
  }

  [[nodiscard]] std::optional<Slots> migrated() const {
    const std::vector<double> device = device_loads(loads_, best_.placement);
    const auto busiest = static_cast<int>(std::max_element(device.begin(), device.end()) - device.begin());
    const auto idlest = static_cast<int>(std::min_element(device.begin(), device.end()) - device.begin());
    if (busiest == idlest) return std::nullopt;
    Slots slots(best_.placement.expert_of_slot().begin(), best_.placement.expert_of_slot().end());
    std::swap(slots[extreme_slot(busiest, true)], slots[extreme_slot(idlest, false)]);
    return slots;
  }

  const PlacementQuestion& question_;
  LayerTimer timer_;
  std::vector<double> loads_;
  PlacementDecision best_;
  Seconds least_;
};

class FlexPolicy final : public PlacementPolicy {
 public:
  [[nodiscard]] std::string_view name() const override { return "flex"; }
  [[nodiscard]] std::string_view description() const override {
    return "FlexMoE: copies are added, given up and moved one at a time";
  }
  [[nodiscard]] PlacementDecision propose(const PlacementQuestion& question) const override {
    return FlexSearch(question).run();
  }
};

}  // namespace

const PlacementPolicy& flex_policy() {
  static const FlexPolicy kPolicy;
  return kPolicy;
}

}  // namespace moesim
