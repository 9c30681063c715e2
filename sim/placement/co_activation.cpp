#include "sim/placement/co_activation.hpp"

#include <cmath>

#include "sim/placement/fold.hpp"
#include "sim/placement/swap_search.hpp"

namespace moesim {
namespace {

constexpr double kPartsOfARow = 256;  // whole numbers, so that a swap can be undone
constexpr std::int64_t kLeastBusyInCoActivation = 128;

class TokenLayerTime {
 public:
  TokenLayerTime(const LayerTimeModel& model, const PredictedCounts& counts, const TokenSet& tokens,
                 const ExpertPlacement& placement)
      : model_(model),
        slots_per_device_(placement.sizes().slots_per_device),
        exchange_(model, tokens, {placement, {}, TokenSplit::kLocality}),
        tokens_(tokens_of(counts, tokens)),
        expert_of_slot_(placement.expert_of_slot().begin(), placement.expert_of_slot().end()),
        rows_(static_cast<std::size_t>(placement.devices()), 0),
        busy_(rows_.size(), 0) {
    for (const double total : expert_totals(counts)) totals_.push_back(std::llround(kPartsOfARow * total));
    for (std::size_t slot = 0; slot < expert_of_slot_.size(); ++slot)
      compute(expert_of_slot_[slot], device_of(static_cast<int>(slot)), 1);
  }

  void swap(int slot_a, int slot_b) {
    std::int32_t& a = expert_of_slot_[static_cast<std::size_t>(slot_a)];
    std::int32_t& b = expert_of_slot_[static_cast<std::size_t>(slot_b)];
    const std::int32_t device_a = device_of(slot_a);
    const std::int32_t device_b = device_of(slot_b);
    compute(a, device_a, -1);
    compute(b, device_b, -1);
    compute(a, device_b, 1);
    compute(b, device_a, 1);
    exchange_.swap(a, device_a, b, device_b);
    std::swap(a, b);
  }
  [[nodiscard]] Seconds time() const { return folded<LargestOf>(exchange_.seconds(tokens_)); }
  [[nodiscard]] Seconds smoothed() const { return folded<NormOfOrder8>(exchange_.smoothed(tokens_)); }
  [[nodiscard]] std::span<const std::int32_t> expert_of_slot() const { return expert_of_slot_; }

 private:
  [[nodiscard]] std::int32_t device_of(int slot) const { return slot / slots_per_device_; }
  void compute(std::int32_t expert, std::int32_t device, int sign) {
    if (expert == kEmptySlot) return;
    const std::int64_t total = totals_[static_cast<std::size_t>(expert)];
    rows_[static_cast<std::size_t>(device)] += sign * total;
    busy_[static_cast<std::size_t>(device)] += total >= kLeastBusyInCoActivation ? sign : 0;
  }
  template <class Fold>
  [[nodiscard]] Seconds folded(double exchange) const {
    Fold busiest;
    for (std::size_t d = 0; d < rows_.size(); ++d)
      busiest.add(
          (static_cast<double>(rows_[d]) / kPartsOfARow + model_.rows_per_busy_expert * static_cast<double>(busy_[d])) /
          model_.speed[d]);
    const double work = busiest.result();
    return model_.fixed + Seconds((work > 0 ? model_.compute.at(work) : 0) + model_.exchanges * exchange);
  }

  const LayerTimeModel& model_;
  int slots_per_device_;
  TokenExchange exchange_;
  double tokens_;
  std::vector<std::int32_t> expert_of_slot_;
  std::vector<std::int64_t> totals_;  // [expert]
  std::vector<std::int64_t> rows_;    // [device]
  std::vector<std::int64_t> busy_;
};

}  // namespace

LocalSearchResult search_co_activation(const LayerTimeModel& model, const PredictedCounts& counts,
                                       const TokenSet& tokens, const ExpertPlacement& start,
                                       const LocalSearchOptions& options) {
  TokenLayerTime layer(model, counts, tokens, start);
  return search_swaps(layer, start, SlotOrder::kIsIndifferent, options);
}

}  // namespace moesim
