#include "sim/program/copy_division.hpp"

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

namespace moesim {
namespace {

// Positions in the first stage, by rank.
class Stage {
 public:
  explicit Stage(const Layout& layout) : layout_(layout), ranks_(layout.stage_ranks(StageId(0))) {
    position_.assign(static_cast<std::size_t>(layout.world()), 0);
    for (std::size_t i = 0; i < ranks_.size(); ++i) position_[ranks_[i].index()] = static_cast<int>(i);
  }
  [[nodiscard]] int size() const { return static_cast<int>(ranks_.size()); }
  [[nodiscard]] RankId rank(int position) const { return ranks_[static_cast<std::size_t>(position)]; }
  [[nodiscard]] int member(int position, GroupKind kind) const { return layout_.index_in_group(kind, rank(position)); }
  // Positions of the group that the rank at `position` belongs to.
  [[nodiscard]] std::vector<int> group(int position, GroupKind kind) const {
    std::vector<int> positions;
    for (const RankId rank : layout_.group(kind, rank(position))) positions.push_back(position_[rank.index()]);
    return positions;
  }
  // Whether groups are runs of neighbours, so that what they hold repeats with the sources.
  [[nodiscard]] bool in_runs(GroupKind kind) const {
    const int members = layout_.group_size(kind);
    for (int p = 0; p < size(); ++p)
      if (group(p, kind).front() != p / members * members || member(p, kind) != p % members) return false;
    return true;
  }

 private:
  const Layout& layout_;
  std::span<const RankId> ranks_;
  std::vector<int> position_;
};

// How many positions of the stage are looked at before their loads repeat.
int distinct_positions(const Stage& stage, const Layout& layout, int sources, CopyDivision division) {
  int period = std::lcm(sources, layout.sizes().tp);
  bool repeats = stage.in_runs(GroupKind::kTp);
  if (division == CopyDivision::kAllOfEspGroup) {
    period = std::lcm(period, layout.sizes().esp);
    repeats = repeats && stage.in_runs(GroupKind::kEsp);
  }
  return repeats ? std::min(period, stage.size()) : stage.size();
}

// Whose own tokens the gate of a rank sees; positions, repeated ones among them.
std::vector<int> gated_tokens(const Stage& stage, int position, CopyDivision division) {
  if (division != CopyDivision::kAllOfEspGroup) return stage.group(position, GroupKind::kTp);
  std::vector<int> owners;
  for (const int member : stage.group(position, GroupKind::kEsp))
    for (const int owner : stage.group(member, GroupKind::kTp)) owners.push_back(owner);
  return owners;
}

// Whether each rank gates its own tokens and sends all their copies, whatever the schedule.
bool each_its_own(const RoutedLoads& own, const ParallelSizes& sizes, CopyDivision division) {
  const bool alike = sizes.tp == 1 && (division != CopyDivision::kAllOfEspGroup || sizes.esp == 1);
  return own.moe_layers == 0 || division == CopyDivision::kOwnTokens || alike;
}

// What the gate of each rank makes copies of, by expert.
RoutedLoads gated_loads(const RoutedLoads& own, const Stage& stage, const Plan& plan, const Layout& layout,
                        CopyDivision division) {
  RoutedLoads gated = own;
  gated.sources = distinct_positions(stage, layout, own.sources, division);
  gated.counts.clear();
  gated.chosen.clear();
  gated.shards_apart = division != CopyDivision::kShareOfEachExpert;
  const std::size_t owners = gated_tokens(stage, 0, division).size();
  gated.tokens_per_source = own.tokens_per_source * static_cast<std::int64_t>(owners);
  for (int position = 0; position < gated.sources; ++position)  // the same for all that gate the same tokens
    gated.turns.push_back(gated_tokens(stage, position, division).front());
  for (int layer = 0; layer < own.moe_layers; ++layer)
    for (int variant = 0; variant < own.variants; ++variant)
      for (int position = 0; position < gated.sources; ++position) {
        std::vector<std::int32_t> counts(static_cast<std::size_t>(own.experts), 0);
        for (const int owner : gated_tokens(stage, position, division)) {
          const auto row = own.chosen_row(layer, variant, owner);
          for (std::size_t e = 0; e < counts.size(); ++e) counts[e] += row[e];
        }
        gated.counts.insert(gated.counts.end(), counts.begin(), counts.end());
      }
  if (plan.capacity_factor > 0) apply_capacity(gated, plan.capacity_factor, plan.pad_to_capacity);
  return gated;
}

// Each TP rank keeps its share.
void share_out(RoutedLoads& gated, const Stage& stage, int tp) {
  if (gated.chosen.empty()) gated.chosen = gated.counts;
  gated.kept = gated.counts;
  std::int32_t* count = gated.counts.data();
  for (int row = 0; row < gated.moe_layers * gated.variants; ++row)
    for (int position = 0; position < gated.sources; ++position) {
      const int member = stage.member(position, GroupKind::kTp);
      for (int slot = 0; slot < gated.slots(); ++slot, ++count)
        *count = static_cast<std::int32_t>(share_of(*count, member, tp));
    }
}

}  // namespace

std::shared_ptr<const RoutedLoads> divide_copies(std::shared_ptr<const RoutedLoads> own, const Plan& plan,
                                                 const Layout& layout, CopyDivision division) {
  if (each_its_own(*own, plan.sizes(), division)) return by_slot(std::move(own), plan.expert_slots);
  const Stage stage(layout);
  auto gated =
      by_slot(std::make_shared<const RoutedLoads>(gated_loads(*own, stage, plan, layout, division)), plan.expert_slots);
  if (division != CopyDivision::kShareOfEachExpert) return gated;
  RoutedLoads shared = *gated;
  share_out(shared, stage, plan.sizes().tp);
  return std::make_shared<const RoutedLoads>(std::move(shared));
}

}  // namespace moesim
