#include "traces/rewrite.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

#include "traces/proportional.hpp"
#include "traces/writer.hpp"

namespace moesim {
namespace {

struct Groups {
  int ranks = 0;    // of a group
  int experts = 0;  // of a rank
};

std::int64_t selections_of(std::span<const std::uint32_t> counts) {
  return std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
}

// ProportionalRounder shares out less than 2^31.
Status check_sizes(const SelectionTrace& trace) {
  constexpr std::int64_t kMost = INT32_MAX;
  const TraceDims dims = trace.dims();
  for (int step = 0; step < dims.steps; ++step)
    for (int layer = 0; layer < dims.layers; ++layer)
      for (int micro_batch = 0; micro_batch < dims.micro_batches; ++micro_batch)
        for (int rank = 0; rank < dims.source_ranks; ++rank)
          if (const std::int64_t sum = selections_of(trace.counts(step, layer, micro_batch, rank)); sum > kMost)
            return invalid_input(
                fmt::format("a rank chooses {} experts in one micro-batch, the most that can be rewritten is {}", sum,
                            kMost),
                trace.info.source, "record micro-batches of fewer tokens");
  return {};
}

Result<Groups> groups_of(const SelectionTrace& trace, int ep) {
  if (trace.summed_over_ranks())
    return invalid_input("the trace is summed over ranks, and a gate is rewritten rank by rank", trace.info.source,
                         "take a recording with source ranks");
  MOESIM_TRY(check_sizes(trace));
  const int ranks = trace.dims().source_ranks;
  const int members = ep == 0 ? ranks : ep;
  if (members < 1 || ranks % members != 0)
    return usage_error(fmt::format("{} source ranks do not make groups of {}", ranks, members),
                       "take an EP that divides them");
  if (trace.experts() % members != 0)
    return usage_error(fmt::format("{} experts do not lie evenly on {} ranks", trace.experts(), members),
                       "take an EP that divides them");
  return Groups{members, trace.experts() / members};
}

// For people and for whoever reads the side file: not what was recorded.
void mark_rewritten(TraceInfo& info, const std::string& rule) {
  info.origin = TraceOrigin::kRewritten;
  info.gate = info.gate.empty() ? rule : fmt::format("{}, of {}", rule, info.gate);
  const std::string what = fmt::format("WHAT-IF: counts rewritten by {}, not recorded", rule);
  info.notes = info.notes.empty() ? what : what + "; " + info.notes;
}

// f(counts of each rank of a group) for every layer and micro-batch.
template <class Rule>
void for_each_group(SelectionTrace& trace, int ranks, const Rule& rule) {
  const TraceDims dims = trace.dims();
  std::vector<std::span<std::uint32_t>> rows(static_cast<std::size_t>(ranks));
  for (int step = 0; step < dims.steps; ++step)
    for (int layer = 0; layer < dims.layers; ++layer)
      for (int micro_batch = 0; micro_batch < dims.micro_batches; ++micro_batch)
        for (int first = 0; first < dims.source_ranks; first += ranks) {
          for (int rank = 0; rank < ranks; ++rank)
            rows[static_cast<std::size_t>(rank)] = trace.counts(step, layer, micro_batch, first + rank);
          rule(rows);
        }
}

// Entries [first, last) of a row are its own node's.
void keep_row_on_node(std::span<std::uint32_t> row, std::size_t first, std::size_t last, std::int64_t tokens,
                      std::int64_t allowed, ProportionalRounder& rounder) {
  std::vector<std::uint64_t> near(row.begin() + static_cast<std::ptrdiff_t>(first),
                                  row.begin() + static_cast<std::ptrdiff_t>(last));
  std::vector<std::uint64_t> far(row.begin(), row.end());
  std::fill(far.begin() + static_cast<std::ptrdiff_t>(first), far.begin() + static_cast<std::ptrdiff_t>(last), 0);
  const std::int64_t away = std::accumulate(far.begin(), far.end(), std::int64_t{0});
  const std::int64_t stays = selections_of(row) - allowed;
  if (away <= allowed) return;
  std::vector<std::int32_t> kept(far.size(), 0);
  if (allowed > 0) rounder.round(far, allowed, allowed, {}, kept);
  if (std::ranges::all_of(near, [](std::uint64_t n) { return n == 0; })) std::ranges::fill(near, 1);
  std::vector<std::int32_t> moved(near.size(), 0);
  rounder.round(near, stays, tokens, {}, moved);
  for (std::size_t e = 0; e < row.size(); ++e)
    row[e] = static_cast<std::uint32_t>(e >= first && e < last ? moved[e - first] : kept[e]);
}

// What rank `to` takes of each source, in their order, until its room is used; the rest is lost to it. Returns its room then.
class Swipe {
 public:
  Swipe(std::vector<std::span<std::uint32_t>>& rows, int experts)
      : rows_(rows), experts_(static_cast<std::size_t>(experts)) {}

  void run() {
    std::vector<std::int64_t> room;  // of each rank: as many copies as its own tokens make
    for (const auto& row : rows_) room.push_back(selections_of(row));
    std::vector<std::int64_t> refused(rows_.size(), 0);  // by source
    for (std::size_t to = 0; to < rows_.size(); ++to)
      for (std::size_t from = 0; from < rows_.size(); ++from) {
        const auto sent = rows_[from].subspan(to * experts_, experts_);
        const std::int64_t copies = selections_of(sent);
        const std::int64_t taken = std::min(copies, room[to]);
        room[to] -= taken;
        refused[from] += copies - taken;
        if (taken < copies) shrink(sent, taken);
      }
    for (std::size_t from = 0; from < rows_.size(); ++from)
      for (std::size_t to = 0; to < rows_.size() && refused[from] > 0; ++to) {
        const std::int64_t given = std::min(refused[from], room[to]);
        refused[from] -= given;
        room[to] -= given;
        grow(rows_[from].subspan(to * experts_, experts_), given);
      }
  }

 private:
  void shrink(std::span<std::uint32_t> sent, std::int64_t taken) {
    const std::vector<std::uint64_t> weights(sent.begin(), sent.end());
    std::vector<std::int32_t> kept(sent.size(), 0);
    if (taken > 0) rounder_.round(weights, taken, taken, {}, kept);
    for (std::size_t e = 0; e < sent.size(); ++e) sent[e] = static_cast<std::uint32_t>(kept[e]);
  }
  void grow(std::span<std::uint32_t> sent, std::int64_t given) const {
    const auto n = static_cast<std::int64_t>(experts_);
    for (std::size_t e = 0; e < experts_; ++e)
      sent[e] += static_cast<std::uint32_t>(given / n + (static_cast<std::int64_t>(e) < given % n ? 1 : 0));
  }

  std::vector<std::span<std::uint32_t>>& rows_;
  std::size_t experts_;
  ProportionalRounder rounder_;
};

}  // namespace

Result<SelectionTrace> keep_on_node(SelectionTrace trace, const TopologyGate& gate) {
  MOESIM_ASSIGN(const Groups groups, groups_of(trace, gate.ep));
  if (!(gate.fraction >= 0 && gate.fraction <= 1))
    return usage_error(fmt::format("{} is not a fraction of tokens", gate.fraction), "take one from 0 to 1");
  if (gate.ranks_per_node < 1 || groups.ranks % gate.ranks_per_node != 0)
    return usage_error(fmt::format("{} ranks do not fill nodes of {}", groups.ranks, gate.ranks_per_node),
                       "take a number of ranks on a node that divides them");
  const std::int64_t top_k = trace.info.top_k;
  const auto on_node = static_cast<std::size_t>(gate.ranks_per_node * groups.experts);
  if (top_k <= 0)
    return usage_error("the trace does not say how many experts a token chooses, and so not how many tokens a rank has",
                       "give --top-k");
  if (top_k > static_cast<std::int64_t>(on_node))
    return usage_error(fmt::format("a token that stays chooses {} experts, and a node has {}", top_k, on_node),
                       "take larger nodes");
  ProportionalRounder rounder;
  for_each_group(trace, groups.ranks, [&](std::vector<std::span<std::uint32_t>>& rows) {
    for (std::size_t rank = 0; rank < rows.size(); ++rank) {
      const std::int64_t tokens = (selections_of(rows[rank]) + top_k - 1) / top_k;
      const auto allowed = static_cast<std::int64_t>(std::floor(gate.fraction * static_cast<double>(tokens)));
      const std::size_t first = rank / static_cast<std::size_t>(gate.ranks_per_node) * on_node;
      keep_row_on_node(rows[rank], first, first + on_node, tokens, allowed, rounder);
    }
  });
  mark_rewritten(trace.info,
                 fmt::format("a topology-aware gate (EP {}, {} ranks to a node, {} of the tokens may leave it)",
                             groups.ranks, gate.ranks_per_node, gate.fraction));
  return trace;
}

Result<SelectionTrace> balance_by_swipe(SelectionTrace trace, const SwipeGate& gate) {
  MOESIM_ASSIGN(const Groups groups, groups_of(trace, gate.ep));
  for_each_group(trace, groups.ranks,
                 [&](std::vector<std::span<std::uint32_t>>& rows) { Swipe(rows, groups.experts).run(); });
  mark_rewritten(trace.info, fmt::format("SWIPE balancing (EP {})", groups.ranks));
  return trace;
}

double even_fraction(int ranks_per_node, BytesPerSecond local, BytesPerSecond network_of_node) {
  return 1 / (1 + ranks_per_node * local.value() / network_of_node.value());
}

Status write_trace(const SelectionTrace& trace, const std::string& to) {
  MOESIM_ASSIGN(const auto writer, TraceWriter::create(to, TraceRows::kCounts));
  const TraceDims dims = trace.dims();
  for (int step = 0; step < dims.steps; ++step)
    for (int layer = 0; layer < dims.layers; ++layer)
      for (int micro_batch = 0; micro_batch < dims.micro_batches; ++micro_batch)
        for (int rank = 0; rank < dims.source_ranks; ++rank) {
          const auto at = [](const auto& labels, int index) { return labels[static_cast<std::size_t>(index)]; };
          CountRow row;
          row.key = {at(trace.iterations(), step), at(trace.layers(), layer), at(trace.micro_batches(), micro_batch),
                     at(trace.source_ranks(), rank)};
          row.counts = trace.counts(step, layer, micro_batch, rank);
          MOESIM_TRY(writer->counts(row));
        }
  TraceInfo info = trace.info;
  info.model_experts = trace.experts();
  return writer->commit(info);
}

}  // namespace moesim
