#include "exec/run/executed_timeline.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "exec/run/operation_times.hpp"
#include "sim/engine/category.hpp"
#include "sim/engine/chrome_trace.hpp"

namespace moesim {
namespace {

constexpr double kGiB = 1024.0 * 1024 * 1024;

// Each stream between stages has one neighbour: its place among them is the number of the channel.
constexpr auto kFirstTransfer = static_cast<std::uint8_t>(Stream::kPpForwardSend);

ReplayOp form_of(const Op& op) {
  ReplayOp form;
  form.stream = op.stream;
  if (op.kind == OpKind::kSend || op.kind == OpKind::kReceive) {
    form.op_class = op.kind == OpKind::kSend ? ReplayOpClass::kSend : ReplayOpClass::kReceive;
    form.group = static_cast<std::uint8_t>(static_cast<std::uint8_t>(op.stream) - kFirstTransfer);
  } else if (is_communication(op.kind)) {
    form.op_class = ReplayOpClass::kCollective;
  }
  return form;
}

// `first`: the entity that stands for rank 0.
ReplayEntity entity_of(const Program& program, RankId rank, std::int32_t first) {
  ReplayEntity entity;
  entity.channels.assign(kStreams - kFirstTransfer, -1);
  const std::span<const RankId> pipeline = program.layout->group(GroupKind::kPp, rank);
  for (const Call& call : program.stages[program.layout->stage(rank).index()].calls) {
    entity.calls.push_back({static_cast<std::uint32_t>(call.block), 0, 0, call.micro_batch});
    for (const Op& op : program.block_of(call).ops)
      if (op.kind == OpKind::kSend || op.kind == OpKind::kReceive)
        entity.channels[form_of(op).group] = first + pipeline[static_cast<std::size_t>(op.peer_stage)].value();
  }
  return entity;
}

// The ranks once, or twice where they are shown as predicted as well.
ReplayProgram form_of(const Program& program, int times) {
  ReplayProgram form;
  for (const Block& block : program.blocks) {
    ReplayBlock& ops = form.blocks.emplace_back();
    for (const Op& op : block.ops) ops.ops.push_back(form_of(op));
  }
  const int world = program.layout->world();
  for (int i = 0; i < times; ++i)
    for (int rank = 0; rank < world; ++rank)
      form.entities.push_back(entity_of(program, RankId(rank), static_cast<std::int32_t>(i * world)));
  return form;
}

Picoseconds picoseconds(Seconds time) { return std::llround(time.value() * kPicosecondsPerSecond); }

// A receive is shown from the moment when its sender began, as by the simulator: before, there was nothing to receive.
std::vector<Interval> intervals_of(const Program& program, const std::vector<TrainingRecord>& records) {
  std::vector<std::vector<ExecutedOp>> ops;
  for (const TrainingRecord& record : records) {
    ops.push_back(record.ops);
    std::ranges::sort(ops.back(), {}, [](const ExecutedOp& ran) { return std::pair(ran.call, ran.op); });
  }
  const auto times = operation_times(program, ops);
  std::vector<Interval> intervals;
  for (std::size_t rank = 0; rank < ops.size(); ++rank) {
    const StageId stage = program.layout->stage(RankId(static_cast<int>(rank)));
    for (std::size_t i = 0; i < ops[rank].size(); ++i) {
      const ExecutedOp& ran = ops[rank][i];
      const bool receives = program.op_at(stage, ran.call, ran.op).kind == OpKind::kReceive;
      const Seconds start = receives ? std::min(ran.end, times[rank][i].begun) : ran.start;
      intervals.push_back({picoseconds(start), picoseconds(ran.end), static_cast<std::uint32_t>(rank),
                           static_cast<std::uint32_t>(ran.call), static_cast<std::uint32_t>(ran.op), -1});
    }
  }
  return intervals;
}

CounterSeries memory_in_use(const TrainingRecord& record, std::uint32_t entity) {
  CounterSeries series{entity, "memory", "GiB", {}};
  for (const ExecutedOp& ran : record.ops) series.points.push_back({picoseconds(ran.end), ran.held.value() / kGiB});
  std::ranges::stable_sort(series.points, {}, &CounterPoint::time);
  return series;
}

// Of an entity's calls, wherever they were predicted or executed.
CounterSeries predicted_memory(const StageMemory& memory, std::span<const Interval> intervals, std::uint32_t entity,
                               std::string name) {
  std::map<std::uint32_t, Picoseconds> starts;  // of calls
  for (const Interval& interval : intervals) {
    if (interval.entity != entity) continue;
    Picoseconds& start = starts.try_emplace(interval.call, interval.start).first->second;
    start = std::min(start, interval.start);
  }
  CounterSeries series{entity, std::move(name), "GiB", {}};
  for (const auto& [call, start] : starts)
    if (call < memory.activation_by_call.size())
      series.points.push_back({start, (memory.static_bytes() + memory.activation_by_call[call]).value() / kGiB});
  std::ranges::stable_sort(series.points, {}, &CounterPoint::time);
  return series;
}

}  // namespace

Result<std::int64_t> write_executed_timeline(const ExecutedTimeline& timeline, const std::string& path) {
  const Program& program = timeline.program;
  const auto world = static_cast<std::uint32_t>(program.layout->world());
  const bool both = !timeline.predicted.empty();
  const std::uint32_t first = both ? world : 0;  // entity of the first executed rank
  const ReplayProgram form = form_of(program, both ? 2 : 1);
  ReplayResult result;
  result.intervals.assign(timeline.predicted.begin(), timeline.predicted.end());
  for (Interval& interval : result.intervals) interval.cause = -1;
  for (Interval interval : intervals_of(program, timeline.records)) {
    interval.entity += first;
    result.intervals.push_back(interval);
  }
  std::ranges::stable_sort(result.intervals, {}, &Interval::end);
  std::string group;
  ChromeTrace trace;
  trace.program = &form;
  trace.result = &result;
  trace.metadata = timeline.metadata;
  for (std::uint32_t entity = 0; entity < form.entities.size(); ++entity) {
    const std::uint32_t rank = entity % world;
    if (entity >= first) trace.counters.push_back(memory_in_use(timeline.records[rank], entity));
    if (timeline.memory != nullptr) {
      const StageId stage = program.layout->stage(RankId(static_cast<std::int32_t>(rank)));
      trace.counters.push_back(predicted_memory(timeline.memory->stages[stage.index()], result.intervals, entity,
                                                entity < first ? "memory" : "memory, predicted"));
    }
  }
  trace.entity_name = [&](std::uint32_t entity) {
    const auto rank = static_cast<std::int32_t>(entity % world);
    const std::string_view which = !both ? "" : entity < first ? "predicted: " : "executed: ";
    return fmt::format("{}stage {}, rank {}", which, program.layout->stage(RankId(rank)).value(), rank);
  };
  trace.label = [&](std::uint32_t entity, std::uint32_t block, std::uint32_t index) {
    const Op& op = program.blocks[block].ops[index];
    SliceLabel label;
    label.name = op.name.empty() ? op_kind_name(op.kind) : op.name;
    label.category = category_name(category_of(op));
    label.layer = op.layer.valid() ? op.layer.value() : -1;
    if (is_communication(op.kind) && op.group != GroupKind::kSelf) {
      std::vector<int> members;
      for (const RankId member : program.layout->group(op.group, RankId(static_cast<std::int32_t>(entity % world))))
        members.push_back(member.value());
      group = fmt::format("{} {{{}}}", group_name(op.group), fmt::join(members, ", "));
      label.group = group;
    }
    return label;
  };
  MOESIM_TRY(write_chrome_trace(trace, path));
  return static_cast<std::int64_t>(result.intervals.size());
}

}  // namespace moesim
