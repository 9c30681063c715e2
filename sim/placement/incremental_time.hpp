// The time of a layer while experts change places: each swap of two slots is followed in what it changes, not counted anew.
//
// For placements without copies. Counts are whole numbers of 256ths here, so a swap and its reverse leave every sum as it was, and time()
// equals LayerTimer's to the last bits however many swaps came before (of whole counts; a test holds it to that). A swap costs
// O(devices * tiers), a time O(ports): some 10^6 candidates a second at 64 devices (tests/bench/README.md).
// Worked: devices 0 | 1 with loads {6, 3}: after swap(0, 1) device 0 computes 3 rows and device 1 six.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/placement/layer_time.hpp"

namespace moesim {

class IncrementalLayerTime {
 public:
  // `model` must outlive it; `placement` holds each expert once.
  IncrementalLayerTime(const LayerTimeModel& model, const PredictedCounts& counts, const ExpertPlacement& placement);

  // What stands in the two slots (perhaps nothing) changes places. Swapping again undoes it.
  void swap(int slot_a, int slot_b);
  // The expert in the slot is shadowed from now on: it keeps the slot, nothing is sent to it. Not to be undone.
  void shadow(int slot);
  [[nodiscard]] Seconds time() const;
  // The same with every maximum over devices and ports replaced by their norm of order 8, which a search can follow: it also falls
  // when one of several equally busy ports is relieved. Never below time(); of 64 equal ports 1.7 times the largest.
  [[nodiscard]] Seconds smoothed() const;
  [[nodiscard]] std::span<const std::int32_t> expert_of_slot() const { return expert_of_slot_; }

 private:
  enum class Change : std::int8_t { kRemove = -1, kAdd = 1 };
  void put(int slot, std::int32_t expert, Change change);
  template <class Fold>
  [[nodiscard]] Seconds folded() const;
  template <class Fold>
  [[nodiscard]] double exchange_round(std::size_t round) const;
  [[nodiscard]] std::size_t device_of(int slot) const {
    return static_cast<std::size_t>(slot) / static_cast<std::size_t>(sizes_.slots_per_device);
  }

  const LayerTimeModel* model_;
  PlacementSizes sizes_;
  std::size_t rounds_ = 1;
  std::size_t ports_of_round_ = 0;       // of all tiers
  std::vector<std::size_t> first_port_;  // [tier], in the row of a round
  std::vector<std::int32_t> expert_of_slot_;
  std::vector<std::int64_t> counts_;         // [expert][source]
  std::vector<std::int64_t> totals_;         // [expert]
  std::vector<std::int64_t> rows_;           // [device]
  std::vector<std::int64_t> busy_;           // [device], experts with any row
  std::vector<std::int64_t> shadowed_rows_;  // [device]
  int shadowed_ = 0;                         // experts
  std::vector<std::int64_t> out_;            // [round][port], copies
  std::vector<std::int64_t> in_;
  std::vector<std::int64_t> pairs_;  // [round][from][to], where a tier is a mesh
};

}  // namespace moesim
