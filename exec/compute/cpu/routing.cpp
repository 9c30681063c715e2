#include <algorithm>
#include <numeric>
#include <vector>

#include "exec/compute/checks.hpp"
#include "exec/compute/cpu/cpu_backend.hpp"
#include "exec/compute/cpu/fp32_access.hpp"
#include "exec/compute/kernel_checks.hpp"

namespace moesim {
namespace {

constexpr std::int32_t kNone = -1;
constexpr std::int32_t kElsewhere = -2;

// The slot of a token's choice as top_k left it, counted from the first of the map; kNone where the number is no expert.
std::int64_t slot_of(const BuildRoutingArgs& args, std::int64_t token, std::int64_t choice) {
  const float id = fp32_row(args.probabilities, token)[args.map.choices() + choice];
  if (!(id >= 0.0F && id < static_cast<float>(args.map.known_experts()))) return kNone;
  const auto chosen = static_cast<std::int64_t>(id);
  const std::int64_t slot = (args.map.slots != nullptr ? args.map.slots[chosen] : chosen) - args.map.first_expert;
  return slot >= 0 ? slot : kElsewhere;
}

// The part of a copy, where its token chose one of the part's slots.
std::int32_t part_of(const BuildRoutingArgs& args, std::int64_t token, std::int64_t part) {
  std::int32_t found = kElsewhere;
  for (std::int64_t choice = 0; choice < args.map.chosen; ++choice) {
    const std::int64_t slot = slot_of(args, token, choice);
    if (slot == kNone) return kNone;
    if (slot >= 0 && slot / args.map.part_slots == part) found = static_cast<std::int32_t>(part);
  }
  return found;
}

// Of a copy: its expert among those of the map, or its part.
std::int32_t expert_of(const BuildRoutingArgs& args, std::int64_t copy) {
  const std::int64_t k = args.map.top_k;
  if (args.map.of_visits()) return part_of(args, copy / k, copy % k);
  const std::int64_t slot = slot_of(args, copy / k, copy % k);
  return slot < args.map.experts ? static_cast<std::int32_t>(slot) : kElsewhere;
}

}  // namespace

Status CpuBackend::build_routing(DeviceStream, const BuildRoutingArgs& args) {
  const RoutingMap& map = args.map;
  const std::int64_t copies = map.tokens * map.top_k;
  MOESIM_TRY(check_operands(args));
  std::vector<std::int64_t> rows(static_cast<std::size_t>(map.experts), 0);
  for (std::int64_t c = 0; c < copies; ++c) {
    const std::int32_t expert = expert_of(args, c);
    MOESIM_TRY(
        Checks("build_routing").holds(expert != kNone, "probabilities name an expert that there is not").status());
    if (expert != kElsewhere) ++rows[static_cast<std::size_t>(expert)];
  }
  std::vector<std::int64_t> next(rows.size());  // free row by expert
  std::vector<std::int64_t> end(rows.size());   // where rows for copies end
  std::int64_t first = 0;
  for (std::size_t e = 0; e < rows.size(); ++e) {
    const std::int64_t kept = map.capacity > 0 ? std::min(rows[e], map.capacity) : rows[e];
    const std::int64_t placed = map.padding == CapacityPadding::kFull ? map.capacity : kept;
    next[e] = first;
    end[e] = first + kept;
    first += placed;
    map.expert_rows[e] = static_cast<std::int32_t>(placed);
  }
  std::fill_n(map.copy_of_row, map.most_rows(), kNone);
  for (std::int64_t c = 0; c < copies; ++c) {
    const std::int32_t expert = expert_of(args, c);
    const auto e = static_cast<std::size_t>(expert);
    if (expert == kElsewhere || next[e] == end[e]) {
      map.row_of_copy[c] = kNone;
      continue;
    }
    map.copy_of_row[next[e]] = static_cast<std::int32_t>(c);
    map.row_of_copy[c] = static_cast<std::int32_t>(next[e]++);
  }
  return {};
}

Status CpuBackend::deal_rows(DeviceStream, const DealRowsArgs& args) {
  MOESIM_TRY(check_operands(args));
  const RoutingMap& map = args.map;
  const std::vector<std::int32_t> copies(map.copy_of_row, map.copy_of_row + map.most_rows());
  for (const RowRun& run : args.runs)
    for (std::int64_t i = 0; i < run.rows; ++i) {
      const std::int32_t copy = copies[static_cast<std::size_t>(run.from + i)];
      map.copy_of_row[run.to + i] = copy;
      if (copy != kNone) map.row_of_copy[copy] = static_cast<std::int32_t>(run.to + i);
    }
  return {};
}

}  // namespace moesim
