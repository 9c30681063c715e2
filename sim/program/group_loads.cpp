#include "sim/program/group_loads.hpp"

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

namespace moesim {

namespace {

// Factors of 32 bits, which the baseline instruction set multiplies several at a time; counts are never negative.
void add_times(const std::int32_t* counts, std::size_t size, std::uint32_t times, std::int64_t* sums) {
  for (std::size_t i = 0; i < size; ++i)
    sums[i] += static_cast<std::int64_t>(std::uint64_t{static_cast<std::uint32_t>(counts[i])} * times);
}

}  // namespace

GroupLoads::GroupLoads(const RoutedLoads& loads, std::vector<int> sources, int ep, int esp)
    : loads_(&loads), sources_(std::move(sources)), ep_(ep), esp_(esp), local_(loads.slots() / ep) {
  const auto experts = static_cast<std::size_t>(loads.slots());
  const std::size_t slots = static_cast<std::size_t>(loads.moe_layers) * static_cast<std::size_t>(loads.variants);
  expert_rows_.assign(slots * experts, 0);
  routed_.assign(slots * sources_.size(), 0);
  arrived_.assign(slots * sources_.size(), 0);
  const auto repeat_first_layer = [&loads](auto& table) {
    const std::size_t one = table.size() / static_cast<std::size_t>(loads.moe_layers);
    for (std::size_t i = one; i < table.size(); ++i) table[i] = table[i - one];
  };
  // Balanced layers are all alike, and with hundreds of sources it pays to sum up one.
  const int layers = loads.balanced ? std::min(1, loads.moe_layers) : loads.moe_layers;
  // Sources repeat in a large group: what one sends is summed up once, for all ranks of a shard that send the same.
  std::vector<std::int64_t> times(static_cast<std::size_t>(loads.sources) * static_cast<std::size_t>(esp), 0);
  for (std::size_t rank = 0; rank < sources_.size(); ++rank)
    ++times[static_cast<std::size_t>(sources_[rank]) * static_cast<std::size_t>(esp) +
            rank % static_cast<std::size_t>(esp)];
  std::vector<std::int64_t> sent(static_cast<std::size_t>(ep));
  std::vector<std::int64_t> routed(static_cast<std::size_t>(loads.sources));
  for (int layer = 0; layer < layers; ++layer)
    for (int variant = 0; variant < loads.variants; ++variant) {
      std::int64_t* const rows = expert_rows_.data() + slot(layer, variant) * experts;
      for (int source = 0; source < loads.sources; ++source) {
        const auto shards =
            std::span(times).subspan(static_cast<std::size_t>(source * esp), static_cast<std::size_t>(esp));
        const std::int64_t ranks =
            loads.shards_apart ? shards.front() : std::accumulate(shards.begin(), shards.end(), std::int64_t{0});
        if (std::ranges::all_of(shards, [](std::int64_t n) { return n == 0; })) continue;
        const std::int32_t* count = loads.row(layer, variant, source).data();
        add_times(count, experts, static_cast<std::uint32_t>(ranks), rows);
        for (int to = 0; to < ep; ++to, count += local_) {
          const std::int64_t here = std::accumulate(count, count + local_, std::int64_t{0});
          sent[static_cast<std::size_t>(to)] = here;
          for (int j = 0; j < esp; ++j)
            arrived_[rank_slot(layer, variant, to, j)] += shards[static_cast<std::size_t>(j)] * here;
        }
        routed[static_cast<std::size_t>(source)] = std::accumulate(sent.begin(), sent.end(), std::int64_t{0});
      }
      std::int64_t* const of_rank = routed_.data() + slot(layer, variant) * sources_.size();
      for (std::size_t rank = 0; rank < sources_.size(); ++rank)
        of_rank[rank] = routed[static_cast<std::size_t>(sources_[rank])];
    }
  if (visited()) count_visits(layers);
  if (!loads.balanced || slots == 0) return;
  for (std::vector<std::int64_t>* table : {&expert_rows_, &routed_, &arrived_}) repeat_first_layer(*table);
  repeat_first_layer(visits_);
}

GroupLoads GroupLoads::cut(const RowPiece& piece) const {
  // Whose copies go how far depends on where a source stands, so that each rank becomes a source of its own.
  const bool by_place = piece.by == CutBy::kDistance;
  auto table = std::make_shared<RoutedLoads>(*loads_);
  table->chosen.clear();
  table->kept.clear();
  std::vector<int> sources = sources_;
  if (by_place) {
    table->sources = static_cast<int>(sources_.size());
    std::iota(sources.begin(), sources.end(), 0);
  }
  table->counts.clear();
  table->counts.reserve(static_cast<std::size_t>(loads_->moe_layers) * static_cast<std::size_t>(loads_->variants) *
                        static_cast<std::size_t>(table->sources) * static_cast<std::size_t>(loads_->slots()));
  std::vector<ShadowPlace> shadows(static_cast<std::size_t>(loads_->slots()));
  for (int layer = 0; layer < loads_->moe_layers; ++layer) {
    if (!loads_->shadows.empty())
      for (int expert = 0; expert < loads_->slots(); ++expert)
        shadows[static_cast<std::size_t>(expert)] = loads_->shadow_place(layer, expert);
    for (int variant = 0; variant < loads_->variants; ++variant)
      for (int source = 0; source < table->sources; ++source) {
        const int row = by_place ? sources_[static_cast<std::size_t>(source)] : source;
        const std::span<const std::int32_t> counts = loads_->row(layer, variant, row);
        if (piece.by == CutBy::kShare) {
          for (const std::int32_t count : counts)
            table->counts.push_back(static_cast<std::int32_t>(share_of(count, piece.index, piece.of)));
          continue;
        }
        for (int expert = 0; expert < loads_->slots(); ++expert)
          table->counts.push_back(static_cast<std::int32_t>(
              rows_in_piece(piece, counts[static_cast<std::size_t>(expert)], by_place ? source / esp_ : 0,
                            expert / local_, ep_, shadows[static_cast<std::size_t>(expert)])));
      }
  }
  GroupLoads result(*table, std::move(sources), ep_, esp_);
  result.cut_ = std::move(table);
  return result;
}

const GroupLoads& PieceLoads::of(const RowPiece& piece) {
  if (piece.whole()) return whole_;
  const auto known = pieces_.find(piece);
  return known != pieces_.end() ? known->second : pieces_.emplace(piece, whole_.cut(piece)).first->second;
}

void GroupLoads::send_matrix(int layer, int variant, int j, std::vector<std::int64_t>& matrix) const {
  const auto ep = static_cast<std::size_t>(ep_);
  matrix.resize(ep * ep);
  std::vector<int> first_with(static_cast<std::size_t>(loads_->sources), -1);
  for (int from = 0; from < ep_; ++from) {
    std::int64_t* const row = matrix.data() + static_cast<std::size_t>(from) * ep;
    int& first = first_with[static_cast<std::size_t>(sources_[static_cast<std::size_t>(from * esp_ + j)])];
    if (first >= 0) {
      std::copy_n(matrix.data() + static_cast<std::size_t>(first) * ep, ep, row);
      continue;
    }
    first = from;
    const std::int32_t* count = source_row(layer, variant, from, j).data();
    for (std::size_t to = 0; to < ep; ++to, count += local_)
      row[to] = std::accumulate(count, count + local_, std::int64_t{0});
  }
}

void GroupLoads::send_matrix_to_shards(int layer, int variant, std::vector<std::int64_t>& matrix) const {
  const auto ep = static_cast<std::size_t>(ep_);
  const auto esp = static_cast<std::size_t>(esp_);
  matrix.resize(ep * esp * ep * esp);
  std::vector<std::int64_t> of_shard;
  for (std::size_t j = 0; j < esp; ++j) {
    send_matrix(layer, variant, static_cast<int>(j), of_shard);
    for (std::size_t from = 0; from < ep; ++from) {
      std::int64_t* row = matrix.data() + (from * esp + j) * ep * esp;
      for (std::size_t to = 0; to < ep; ++to, row += esp) std::fill_n(row, esp, of_shard[from * ep + to]);
    }
  }
}

std::int64_t GroupLoads::gated(int layer, int variant, int i, int j) const {
  if (loads_->kept.empty()) return routed(layer, variant, i, j);
  const auto row = loads_->kept_row(layer, variant, sources_[static_cast<std::size_t>(i * esp_ + j)]);
  return std::accumulate(row.begin(), row.end(), std::int64_t{0});
}

std::span<const std::int64_t> GroupLoads::expert_rows(int layer, int variant, int i) const {
  const std::size_t start = slot(layer, variant) * static_cast<std::size_t>(loads_->slots()) +
                            static_cast<std::size_t>(i) * static_cast<std::size_t>(local_);
  return std::span(expert_rows_).subspan(start, static_cast<std::size_t>(local_));
}

std::int64_t GroupLoads::arrived_shards(int layer, int variant, int i) const {
  const auto rows = expert_rows(layer, variant, i);
  return std::accumulate(rows.begin(), rows.end(), std::int64_t{0});
}

std::vector<std::int64_t> GroupLoads::computed_rows(int layer, int variant, int i) const {
  const auto owned = expert_rows(layer, variant, i);
  std::vector<std::int64_t> rows(owned.begin(), owned.end());
  if (loads_->shadows.empty()) return rows;
  for (int local = 0; local < local_; ++local)
    if (loads_->shadow_place(layer, i * local_ + local).shadowed()) rows[static_cast<std::size_t>(local)] = 0;
  std::vector<std::int64_t> own;
  shadow_rows(layer, variant, i, 0, {CutBy::kShadow, 0, 1}, own);
  rows.insert(rows.end(), own.begin(), own.end());
  return rows;
}

std::int64_t GroupLoads::computed(int layer, int variant, int i) const {
  if (loads_->shadows.empty()) return arrived_shards(layer, variant, i);
  const std::vector<std::int64_t> rows = computed_rows(layer, variant, i);
  return std::accumulate(rows.begin(), rows.end(), std::int64_t{0});
}

void GroupLoads::shadow_rows(int layer, int variant, int i, int j, const RowPiece& piece,
                             std::vector<std::int64_t>& rows) const {
  const auto counts = source_row(layer, variant, i, j);
  rows.clear();
  for (const std::int32_t expert : loads_->shadows_in(layer, piece))
    rows.push_back(counts[static_cast<std::size_t>(expert)]);
}

namespace {

std::int64_t busiest_work(const GroupLoads& loads, int moe_layers) {
  std::int64_t work = 0;
  for (int layer = 0; layer < moe_layers; ++layer)
    for (int variant = 0; variant < loads.variants(); ++variant) {
      std::int64_t busiest = 0;
      for (int i = 0; i < loads.ep(); ++i) busiest = std::max(busiest, loads.computed(layer, variant, i));
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
