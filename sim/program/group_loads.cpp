#include "sim/program/group_loads.hpp"

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

namespace moesim {

GroupLoads::GroupLoads(const RoutedLoads& loads, std::vector<int> sources, int ep, int esp)
    : loads_(&loads), sources_(std::move(sources)), ep_(ep), esp_(esp), local_(loads.experts / ep) {
  const auto experts = static_cast<std::size_t>(loads.experts);
  const std::size_t slots = static_cast<std::size_t>(loads.moe_layers) * static_cast<std::size_t>(loads.variants);
  expert_rows_.assign(slots * experts, 0);
  routed_.assign(slots * sources_.size(), 0);
  arrived_.assign(slots * sources_.size(), 0);
  const auto repeat_first_layer = [&loads](std::vector<std::int64_t>& table) {
    const std::size_t one = table.size() / static_cast<std::size_t>(loads.moe_layers);
    for (std::size_t i = one; i < table.size(); ++i) table[i] = table[i - one];
  };
  // Balanced layers are all alike, and with hundreds of sources it pays to sum up one.
  const int layers = loads.balanced ? std::min(1, loads.moe_layers) : loads.moe_layers;
  for (int layer = 0; layer < layers; ++layer)
    for (int variant = 0; variant < loads.variants; ++variant) {
      std::int64_t* const rows = expert_rows_.data() + slot(layer, variant) * experts;
      for (int i = 0; i < ep; ++i)
        for (int j = 0; j < esp; ++j) {
          const std::int32_t* count = source_row(layer, variant, i, j).data();
          std::int64_t routed = 0;
          for (int to = 0; to < ep; ++to) {
            std::int64_t sent = 0;
            for (int expert = 0; expert < local_; ++expert, ++count) {
              rows[to * local_ + expert] += *count;
              sent += *count;
            }
            arrived_[rank_slot(layer, variant, to, j)] += sent;
            routed += sent;
          }
          routed_[rank_slot(layer, variant, i, j)] = routed;
        }
    }
  if (!loads.balanced || slots == 0) return;
  for (std::vector<std::int64_t>* table : {&expert_rows_, &routed_, &arrived_}) repeat_first_layer(*table);
}

void GroupLoads::send_matrix(int layer, int variant, int j, std::vector<std::int64_t>& matrix) const {
  matrix.assign(static_cast<std::size_t>(ep_) * static_cast<std::size_t>(ep_), 0);
  for (int from = 0; from < ep_; ++from) {
    const std::int32_t* count = source_row(layer, variant, from, j).data();
    std::int64_t* row = matrix.data() + static_cast<std::size_t>(from) * static_cast<std::size_t>(ep_);
    for (int to = 0; to < ep_; ++to, count += local_) row[to] = std::accumulate(count, count + local_, std::int64_t{0});
  }
}

std::span<const std::int64_t> GroupLoads::expert_rows(int layer, int variant, int i) const {
  const std::size_t start = slot(layer, variant) * static_cast<std::size_t>(loads_->experts) +
                            static_cast<std::size_t>(i) * static_cast<std::size_t>(local_);
  return std::span(expert_rows_).subspan(start, static_cast<std::size_t>(local_));
}

std::int64_t GroupLoads::arrived_shards(int layer, int variant, int i) const {
  const auto rows = expert_rows(layer, variant, i);
  return std::accumulate(rows.begin(), rows.end(), std::int64_t{0});
}

namespace {

std::int64_t busiest_work(const GroupLoads& loads, int moe_layers) {
  std::int64_t work = 0;
  for (int layer = 0; layer < moe_layers; ++layer)
    for (int variant = 0; variant < loads.variants(); ++variant) {
      std::int64_t busiest = 0;
      for (int i = 0; i < loads.ep(); ++i) busiest = std::max(busiest, loads.arrived_shards(layer, variant, i));
      work += busiest;
    }
  return work;
}

}  // namespace

std::vector<LoadClass> load_classes(const Layout& layout, const RoutedLoads& loads) {
  const auto stage = layout.stage_ranks(StageId(0));
  std::vector<int> position(static_cast<std::size_t>(layout.world()), -1);
  for (std::size_t i = 0; i < stage.size(); ++i) position[stage[i].index()] = static_cast<int>(i);

  const int ep = layout.sizes().ep;
  const int esp = layout.sizes().esp;
  const bool all_alike = loads.moe_layers == 0;
  const auto size = static_cast<std::size_t>(layout.group_size(GroupKind::kEpEsp));
  std::vector<LoadClass> classes;
  std::map<std::vector<int>, std::size_t> known;
  for (int g = 0; g < layout.group_count(GroupKind::kEpEsp); ++g) {
    const auto members = layout.group_at(GroupKind::kEpEsp, g);
    if (position[members.front().index()] < 0) continue;  // of another stage
    std::vector<int> sources(size);
    std::vector<int> positions(size);
    for (const RankId rank : members) {
      const auto& at = layout.at(rank);
      const auto slot = static_cast<std::size_t>(at.ep * esp + at.esp);
      positions[slot] = position[rank.index()];
      sources[slot] = all_alike ? 0 : positions[slot] % loads.sources;
    }
    const auto [entry, fresh] = known.try_emplace(sources, classes.size());
    if (fresh) classes.push_back({std::move(sources), {}, 0});
    classes[entry->second].members.push_back(std::move(positions));
  }
  for (LoadClass& one : classes)
    if (!all_alike && classes.size() > 1)
      one.expert_work = busiest_work(GroupLoads(loads, one.sources, ep, esp), loads.moe_layers);
  std::stable_sort(classes.begin(), classes.end(),
                   [](const LoadClass& a, const LoadClass& b) { return a.expert_work > b.expert_work; });
  return classes;
}

}  // namespace moesim
