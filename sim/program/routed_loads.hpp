// How many token copies go from whom to whom: the per-rank side table of a program.
//
// Every rank of a stage is a source of `tokens_per_source` tokens per micro-batch, each sent to `top_k` experts. The
// counts come from a recorded trace (re-mapped to this many sources and tokens) or are balanced. Sources and micro-batches
// beyond those held here repeat them in order, so that a small table serves a large cluster.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "sim/plan/expert_slots.hpp"
#include "sim/program/row_piece.hpp"
#include "sim/program/visit_table.hpp"
#include "traces/remap.hpp"

namespace moesim {

struct RoutedLoads {
  int moe_layers = 0;
  int variants = 1;  // distinct micro-batches
  int sources = 1;   // distinct source ranks
  int experts = 0;
  int spare_slots = 0;  // places of `counts` and `kept` beyond the experts, where experts stand in several
  int top_k = 0;
  std::int64_t tokens_per_source = 0;
  std::vector<std::int32_t>
      counts;                       // [moe_layer][variant][source][expert], where experts have places by slot (by_slot)
  std::vector<std::int32_t> turns;  // [source]: of dealt_rows; empty: as numbered
  std::vector<std::int32_t>
      chosen;  // what the gate of a rank chose, before a capacity cut or padded it; empty: as counts
  std::vector<std::int32_t> kept;  // of those, what the capacity left; a rank sends its share of it; empty: all of it
  bool shards_apart = false;  // every shard of an expert gets its copies from ranks of its own; shards share nothing
  // Experts whose weights every rank of an EP group gets a copy of, to compute its own copies itself: [moe_layer][shadow],
  // ascending, as many in every layer.
  std::vector<std::int32_t> shadows;
  // Where tokens travel once for every part that they visit, how many; null: copies travel, one for each expert.
  std::shared_ptr<const VisitTable> visits;
  VisitCache visit_cache;  // what was worked out of these counts
  bool balanced = true;
  std::vector<std::string> notes;

  [[nodiscard]] int slots() const { return experts + spare_slots; }
  [[nodiscard]] int turn(int source) const {
    const int row = source % sources;
    return turns.empty() ? row : turns[static_cast<std::size_t>(row)];
  }
  [[nodiscard]] std::span<const std::int32_t> row(int moe_layer, int variant, int source) const {
    return row_of(counts, slots(), moe_layer, variant, source);
  }
  // What the gate chose; `row` is what is sent.
  [[nodiscard]] std::span<const std::int32_t> chosen_row(int moe_layer, int variant, int source) const {
    return row_of(chosen.empty() ? counts : chosen, experts, moe_layer, variant, source);
  }
  // What it has before the ranks of its TP group share it out.
  [[nodiscard]] std::span<const std::int32_t> kept_row(int moe_layer, int variant, int source) const {
    return row_of(kept.empty() ? counts : kept, slots(), moe_layer, variant, source);
  }

  [[nodiscard]] int shadow_count() const { return moe_layers == 0 ? 0 : static_cast<int>(shadows.size()) / moe_layers; }
  [[nodiscard]] ShadowPlace shadow_place(int moe_layer, int expert) const;
  // The shadowed experts of a piece of a layer (CutBy::kShadow).
  [[nodiscard]] std::span<const std::int32_t> shadows_in(int moe_layer, const RowPiece& piece) const;

 private:
  [[nodiscard]] std::span<const std::int32_t> row_of(const std::vector<std::int32_t>& table, int places, int moe_layer,
                                                     int variant, int source) const {
    const std::size_t index = (static_cast<std::size_t>(moe_layer) * variants + variant) * sources + source % sources;
    return std::span(table).subspan(index * places, static_cast<std::size_t>(places));
  }
};

// Balanced routing: every expert gets the same share; one variant, one source.
[[nodiscard]] RoutedLoads balanced_routed_loads(int moe_layers, int experts, int top_k, std::int64_t tokens_per_source);

// From a trace (traces/remap.hpp), for this many sources (at most kMostSources distinct ones are kept) and micro-batches.
constexpr int kMostSources = 64;
constexpr int kMostVariants = 4;
[[nodiscard]] Result<RoutedLoads> routed_loads_from(const LoadMapper& mapper, int moe_layers, int experts, int top_k,
                                                    std::int64_t tokens_per_source, int sources, int micro_batches);

// The same loads for experts that stand in these slots: what is sent by slot, dealt out where an expert has several (dealt_rows),
// what gates chose by expert as before. Of loads whose copies nobody shares out yet.
[[nodiscard]] std::shared_ptr<const RoutedLoads> by_slot(std::shared_ptr<const RoutedLoads> loads,
                                                         const ExpertSlots& slots);

// The same loads with the `count` experts of each layer shadowed that get the most copies, over all sources and micro-batches; of
// equal ones the first. The same object for none.
[[nodiscard]] std::shared_ptr<const RoutedLoads> with_shadows(std::shared_ptr<const RoutedLoads> loads, int count);

// The copies that an expert takes from one source: ceil(factor * tokens * top_k / experts) (GShard, section 2.2).
[[nodiscard]] std::int64_t expert_capacity(double factor, std::int64_t tokens, std::int64_t top_k,
                                           std::int64_t experts);

// Cuts every (source, expert) count at the capacity; with padding every count becomes the capacity. Returns the token copies
// dropped.
std::int64_t apply_capacity(RoutedLoads& loads, double factor, bool pad);

}  // namespace moesim
