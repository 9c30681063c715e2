#include "sim/placement/switch_plan.hpp"

#include <algorithm>

#include "sim/plan/expert_parts.hpp"

namespace moesim {
namespace {

// The slot to copy from: of the device itself, else of its node, else the lowest number.
std::int32_t nearest_slot(const LayerTimeModel& model, const ExpertPlacement& placement, int expert, int device) {
  const auto distance = [&](std::int32_t slot) {
    const int holder = placement.device_of_slot(slot);
    if (holder == device) return 0;
    const auto node = [&](int d) { return model.node_of_device[static_cast<std::size_t>(d)]; };
    return node(holder) == node(device) ? 1 : 2;
  };
  const auto slots = placement.slots_of(expert);
  return *std::min_element(slots.begin(), slots.end(),
                           [&](std::int32_t a, std::int32_t b) { return distance(a) < distance(b); });
}

// The first slot of a device that holds it.
std::int32_t slot_on(const ExpertPlacement& placement, int device, int expert) {
  for (const std::int32_t slot : placement.slots_of(expert))
    if (placement.device_of_slot(slot) == device) return slot;
  MOESIM_ASSERT(!"a home that does not hold its expert");
  return -1;
}

// Puts down what an expert's way from one slot to another means for the ranks that hold it.
class TransferList {
 public:
  TransferList(const LayerTimeModel& model, const PlacementSizes& sizes, std::vector<ExpertTransfer>& transfers)
      : model_(model), sizes_(sizes), transfers_(transfers) {}

  void weights(std::int32_t expert, std::int32_t from, std::int32_t to) {
    add(expert, from, to, model_.expert.weights);
  }
  void state(std::int32_t expert, std::int32_t from, std::int32_t to) {
    add(expert, from, to, model_.expert.optimizer);
  }

 private:
  [[nodiscard]] std::int32_t device(std::int32_t slot) const { return slot / sizes_.slots_per_device; }
  void add(std::int32_t expert, std::int32_t from, std::int32_t to, Bytes size) {
    if (model_.cut)
      parts(expert, from, to, size);
    else
      transfer(expert, device(from), device(to), size);
  }
  void transfer(std::int32_t expert, std::int32_t from, std::int32_t to, Bytes size) {
    if (from != to) transfers_.push_back({expert, from, to, size});
  }
  void parts(std::int32_t expert, std::int32_t from, std::int32_t to, Bytes size) {
    const CutReplicas& cut = *model_.cut;
    std::int64_t numbers = 0;
    for (const std::int64_t matrix : cut.matrices) numbers += matrix;
    for (const std::int64_t matrix : cut.matrices)
      for (const PartRun& run : part_runs({matrix, sizes_.slots_per_device, cut.replicas},
                                          from % sizes_.slots_per_device, to % sizes_.slots_per_device))
        transfer(expert, run.from * sizes_.devices + device(from), run.to * sizes_.devices + device(to),
                 Bytes(size.count() / numbers * run.count + size.count() % numbers * run.count / numbers));
  }

  const LayerTimeModel& model_;
  const PlacementSizes& sizes_;
  std::vector<ExpertTransfer>& transfers_;
};

// What moves at a switch goes between the ranks of all replicas, where these have parts.
PortLoads ports_of_switch(const LayerTimeModel& model) { return model.cut ? PortLoads(*model.cut) : PortLoads(model); }

double transfer_seconds(PortLoads& ports, std::span<const ExpertTransfer> transfers) {
  ports.clear();
  for (const ExpertTransfer& transfer : transfers) ports.add(transfer.from, transfer.to, transfer.size.value());
  return ports.seconds();
}

}  // namespace

Bytes SwitchPlan::bytes() const {
  Bytes sum;
  for (const ExpertTransfer& transfer : transfers) sum += transfer.size;
  return sum;
}

std::vector<std::int32_t> first_homes(const ExpertPlacement& placement) {
  std::vector<std::int32_t> homes;
  for (int e = 0; e < placement.experts(); ++e)
    homes.push_back(static_cast<std::int32_t>(placement.device_of_slot(placement.slots_of(e).front())));
  return homes;
}

SwitchPlan plan_switch(const LayerTimeModel& model, const ExpertPlacement& before, std::span<const std::int32_t> homes,
                       const ExpertPlacement& after, OptimizerState optimizer) {
  SwitchPlan plan;
  plan.homes.assign(homes.begin(), homes.end());
  TransferList list(model, after.sizes(), plan.transfers);
  for (std::int32_t e = 0; e < after.experts(); ++e) {
    std::int32_t last = -1;
    for (const std::int32_t slot : after.slots_of(e)) {
      const auto device = static_cast<std::int32_t>(after.device_of_slot(slot));
      if (device == last) continue;
      last = device;
      list.weights(e, nearest_slot(model, before, e, device), slot);
      if (!before.holds(device, e)) ++plan.moves;
    }
    std::int32_t& home = plan.homes[static_cast<std::size_t>(e)];
    const std::int32_t state_before = slot_on(before, home, e);
    if (!after.holds(home, e)) home = static_cast<std::int32_t>(after.device_of_slot(after.slots_of(e).front()));
    if (optimizer == OptimizerState::kMoves) list.state(e, state_before, slot_on(after, home, e));
  }
  return plan;
}

Seconds switch_seconds(const LayerTimeModel& model, const SwitchPlan& plan, SwitchOrder order) {
  PortLoads ports = ports_of_switch(model);
  if (order == SwitchOrder::kBatched) return Seconds(transfer_seconds(ports, plan.transfers));
  double seconds = 0;
  for (const ExpertTransfer& transfer : plan.transfers) seconds += transfer_seconds(ports, {&transfer, 1});
  return Seconds(seconds);
}

Seconds copies_seconds(const LayerTimeModel& model, const ExpertPlacement& placement,
                       std::span<const std::int32_t> homes) {
  if (placement.is_permutation()) return Seconds(0);
  std::vector<ExpertTransfer> gradients;
  std::vector<ExpertTransfer> weights;
  for (std::int32_t e = 0; e < placement.experts(); ++e) {
    const std::int32_t home = homes[static_cast<std::size_t>(e)];
    std::int32_t last = -1;
    for (const std::int32_t slot : placement.slots_of(e)) {
      const auto device = static_cast<std::int32_t>(placement.device_of_slot(slot));
      if (device == last || device == home) continue;
      last = device;
      gradients.push_back({e, device, home, model.expert.gradients});
      weights.push_back({e, home, device, model.expert.weights});
    }
  }
  PortLoads ports(model);
  return Seconds(transfer_seconds(ports, gradients) + transfer_seconds(ports, weights));
}

}  // namespace moesim
