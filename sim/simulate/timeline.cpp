#include "sim/simulate/timeline.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "sim/engine/chrome_trace.hpp"
#include "sim/program/group_loads.hpp"

namespace moesim {
namespace {

constexpr double kGiB = 1024.0 * 1024 * 1024;

const Op& op_of(const Program& program, std::uint32_t block, std::uint32_t op) { return program.blocks[block].ops[op]; }

// Position of a model layer among the MoE layers; -1 for a dense one.
std::vector<int> moe_positions(const ModelShape& model) {
  std::vector<int> positions;
  int next = 0;
  for (int layer = 0; layer < model.layer_count(); ++layer)
    positions.push_back(model.layer(LayerId(layer)).moe ? next++ : -1);
  return positions;
}

// The state of the stage plus what the call holds at its most, at the start of every call.
std::vector<CounterSeries> memory_counters(const SimulatedStep& step) {
  const auto& entities = step.priced.replay.entities;
  std::vector<std::vector<Picoseconds>> starts(entities.size());
  for (std::size_t e = 0; e < entities.size(); ++e) starts[e].assign(entities[e].calls.size(), -1);
  for (const Interval& interval : step.replay.intervals) {
    Picoseconds& start = starts[interval.entity][interval.call];
    if (start < 0 || interval.start < start) start = interval.start;
  }
  std::vector<CounterSeries> counters;
  for (std::size_t e = 0; e < entities.size(); ++e) {
    const StageMemory& memory = step.memory.stages[step.priced.entities[e].stage.index()];
    CounterSeries series{static_cast<std::uint32_t>(e), "memory", "GiB", {}};
    for (std::size_t call = 0; call < starts[e].size() && call < memory.activation_by_call.size(); ++call)
      if (starts[e][call] >= 0)
        series.points.push_back(
            {starts[e][call], (memory.static_bytes() + memory.activation_by_call[call]).value() / kGiB});
    std::stable_sort(series.points.begin(), series.points.end(),
                     [](const CounterPoint& a, const CounterPoint& b) { return a.time < b.time; });
    counters.push_back(std::move(series));
  }
  return counters;
}

std::vector<CounterSeries> expert_counters(const SimulatedStep& step) {
  const Program& program = step.program;
  const RoutedLoads& routed = *program.loads;
  std::vector<CounterSeries> counters;
  if (routed.moe_layers == 0) return counters;
  const ParallelSizes& sizes = program.plan.sizes();
  const std::vector<LoadClass> classes = load_classes(*program.layout, routed);
  std::vector<GroupLoads> loads;
  for (const LoadClass& one : classes) loads.emplace_back(routed, one.sources, sizes.ep, sizes.esp);
  const std::vector<int> positions = moe_positions(program.model);
  for (std::size_t e = 0; e < step.priced.entities.size(); ++e)
    counters.push_back({static_cast<std::uint32_t>(e), "expert rows", "token copies", {}});
  for (const Interval& interval : step.replay.intervals) {
    const ReplayCall& call = step.priced.replay.entities[interval.entity].calls[interval.call];
    const Op& op = op_of(program, call.block, interval.op);
    if (op.kind != OpKind::kDispatch || !op.layer.valid() || positions[op.layer.index()] < 0) continue;
    const PricedEntity& entity = step.priced.entities[interval.entity];
    const GroupLoads& group = loads[static_cast<std::size_t>(entity.load_class)];
    const int variant = (op.second_half != 0 ? call.second_variant : call.variant) % group.variants();
    const std::int64_t rows =
        group.computed(positions[op.layer.index()], variant, program.layout->at(entity.representative).ep);
    counters[interval.entity].points.push_back({interval.end, static_cast<double>(rows)});
  }
  return counters;
}

// "ep {0, 1, .. 7}", made once per entity and kind of group.
class GroupTexts {
 public:
  explicit GroupTexts(const SimulatedStep& step) : step_(step) {}
  std::string_view text(std::uint32_t entity, GroupKind kind) {
    if (kind == GroupKind::kSelf) return {};
    const auto [place, inserted] = texts_.try_emplace({entity, kind});
    if (inserted) {
      const auto ranks = step_.program.layout->group(kind, step_.priced.entities[entity].representative);
      place->second = fmt::format("{} {{{}}}", group_name(kind), ranks_text(ranks));
    }
    return place->second;
  }

 private:
  static std::string ranks_text(std::span<const RankId> ranks) {
    constexpr std::size_t kShown = 8;
    std::string text;
    for (std::size_t i = 0; i < std::min(kShown, ranks.size()); ++i)
      text += fmt::format("{}{}", text.empty() ? "" : ", ", ranks[i].value());
    return ranks.size() > kShown ? fmt::format("{}, .. {}", text, ranks.back().value()) : text;
  }
  const SimulatedStep& step_;
  std::map<std::pair<std::uint32_t, GroupKind>, std::string> texts_;
};

}  // namespace

std::string entity_text(const SimulatedStep& step, std::uint32_t entity) {
  const PricedEntity& priced = step.priced.entities[entity];
  if (priced.ranks == 1) return fmt::format("stage {}, rank {}", priced.stage.value(), priced.representative.value());
  return fmt::format("stage {}, rank {} for {} alike", priced.stage.value(), priced.representative.value(),
                     priced.ranks);
}

Result<TimelineSummary> write_timeline(const SimulatedStep& step, const TimelineRequest& request) {
  GroupTexts groups(step);
  ChromeTrace trace;
  trace.program = &step.priced.replay;
  trace.result = &step.replay;
  trace.entity_name = [&](std::uint32_t entity) { return entity_text(step, entity); };
  trace.label = [&](std::uint32_t entity, std::uint32_t block, std::uint32_t index) {
    const Op& op = op_of(step.program, block, index);
    SliceLabel label;
    label.name = op.name.empty() ? op_kind_name(op.kind) : op.name;
    label.category = category_name(category_of(op));
    label.group = is_communication(op.kind) ? groups.text(entity, op.group) : std::string_view();
    label.layer = op.layer.valid() ? op.layer.value() : -1;
    return label;
  };
  trace.counters = memory_counters(step);
  for (CounterSeries& series : expert_counters(step)) trace.counters.push_back(std::move(series));
  trace.metadata = request.metadata;
  MOESIM_TRY(write_chrome_trace(trace, request.path));
  return TimelineSummary{static_cast<std::int64_t>(step.replay.intervals.size()),
                         static_cast<std::int64_t>(step.priced.entities.size())};
}

}  // namespace moesim
