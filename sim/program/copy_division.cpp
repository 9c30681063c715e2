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

}  // namespace

std::shared_ptr<const RoutedLoads> divide_copies(std::shared_ptr<const RoutedLoads> own, const Plan& plan,
                                                 const Layout& layout, CopyDivision division) {
  const ParallelSizes& sizes = plan.sizes();
  const bool alike = sizes.tp == 1 && (division != CopyDivision::kAllOfEspGroup || sizes.esp == 1);
  if (own->moe_layers == 0 || division == CopyDivision::kOwnTokens || alike) return own;

  const Stage stage(layout);
  RoutedLoads divided = *own;
  divided.sources = distinct_positions(stage, layout, own->sources, division);
  divided.counts.clear();
  divided.chosen.clear();
  divided.shards_apart = division != CopyDivision::kShareOfEachExpert;
  const std::size_t owners = gated_tokens(stage, 0, division).size();
  divided.tokens_per_source = own->tokens_per_source * static_cast<std::int64_t>(owners);

  for (int layer = 0; layer < own->moe_layers; ++layer)
    for (int variant = 0; variant < own->variants; ++variant)
      for (int position = 0; position < divided.sources; ++position) {
        std::vector<std::int32_t> gated(static_cast<std::size_t>(own->experts), 0);
        for (const int owner : gated_tokens(stage, position, division)) {
          const auto row = own->chosen_row(layer, variant, owner);
          for (std::size_t e = 0; e < gated.size(); ++e) gated[e] += row[e];
        }
        divided.counts.insert(divided.counts.end(), gated.begin(), gated.end());
      }
  if (plan.capacity_factor > 0) apply_capacity(divided, plan.capacity_factor, plan.pad_to_capacity);
  if (division != CopyDivision::kShareOfEachExpert) return std::make_shared<const RoutedLoads>(std::move(divided));

  if (divided.chosen.empty()) divided.chosen = divided.counts;
  divided.kept = divided.counts;
  std::int32_t* count = divided.counts.data();
  for (int slot = 0; slot < own->moe_layers * own->variants; ++slot)
    for (int position = 0; position < divided.sources; ++position) {
      const int member = stage.member(position, GroupKind::kTp);
      for (int e = 0; e < own->experts; ++e, ++count)
        *count = static_cast<std::int32_t>(share_of(*count, member, sizes.tp));
    }
  return std::make_shared<const RoutedLoads>(std::move(divided));
}

}  // namespace moesim
