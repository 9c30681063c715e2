#include "exec/run/executed_timeline.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "exec/run/operation_times.hpp"
#include "sim/engine/category.hpp"
#include "sim/engine/chrome_trace.hpp"

namespace moesim {
namespace {

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

ReplayEntity entity_of(const Program& program, RankId rank) {
  ReplayEntity entity;
  entity.channels.assign(kStreams - kFirstTransfer, -1);
  const std::span<const RankId> pipeline = program.layout->group(GroupKind::kPp, rank);
  for (const Call& call : program.stages[program.layout->stage(rank).index()].calls) {
    entity.calls.push_back({static_cast<std::uint32_t>(call.block), 0, 0, call.micro_batch});
    for (const Op& op : program.blocks[static_cast<std::size_t>(call.block)].ops)
      if (op.kind == OpKind::kSend || op.kind == OpKind::kReceive)
        entity.channels[form_of(op).group] = pipeline[static_cast<std::size_t>(op.peer_stage)].value();
  }
  return entity;
}

ReplayProgram form_of(const Program& program) {
  ReplayProgram form;
  for (const Block& block : program.blocks) {
    ReplayBlock& ops = form.blocks.emplace_back();
    for (const Op& op : block.ops) ops.ops.push_back(form_of(op));
  }
  for (int rank = 0; rank < program.layout->world(); ++rank) form.entities.push_back(entity_of(program, RankId(rank)));
  return form;
}

Picoseconds picoseconds(Seconds time) { return std::llround(time.value() * kPicosecondsPerSecond); }

// A receive is shown from the moment when its sender began, as by the simulator: before, there was nothing to receive.
ReplayResult intervals_of(const Program& program, const std::vector<TrainingRecord>& records) {
  std::vector<std::vector<ExecutedOp>> ops;
  for (const TrainingRecord& record : records) {
    ops.push_back(record.ops);
    std::ranges::sort(ops.back(), {}, [](const ExecutedOp& ran) { return std::pair(ran.call, ran.op); });
  }
  const auto times = operation_times(program, ops);
  ReplayResult result;
  for (std::size_t rank = 0; rank < ops.size(); ++rank) {
    const auto& calls = program.stages[program.layout->stage(RankId(static_cast<int>(rank))).index()].calls;
    for (std::size_t i = 0; i < ops[rank].size(); ++i) {
      const ExecutedOp& ran = ops[rank][i];
      const Block& block = program.blocks[static_cast<std::size_t>(calls[static_cast<std::size_t>(ran.call)].block)];
      const bool receives = block.ops[static_cast<std::size_t>(ran.op)].kind == OpKind::kReceive;
      const Seconds start = receives ? ran.end - times[rank][i].time : ran.start;
      result.intervals.push_back({picoseconds(start), picoseconds(ran.end), static_cast<std::uint32_t>(rank),
                                  static_cast<std::uint32_t>(ran.call), static_cast<std::uint32_t>(ran.op), -1});
    }
  }
  std::ranges::stable_sort(result.intervals, {}, &Interval::end);
  return result;
}

}  // namespace

Result<std::int64_t> write_executed_timeline(const ExecutedTimeline& timeline, const std::string& path) {
  const Program& program = timeline.program;
  const ReplayProgram form = form_of(program);
  const ReplayResult result = intervals_of(program, timeline.records);
  std::string group;
  ChromeTrace trace;
  trace.program = &form;
  trace.result = &result;
  trace.metadata = timeline.metadata;
  trace.entity_name = [&](std::uint32_t rank) {
    return fmt::format("stage {}, rank {}", program.layout->stage(RankId(static_cast<int>(rank))).value(), rank);
  };
  trace.label = [&](std::uint32_t rank, std::uint32_t block, std::uint32_t index) {
    const Op& op = program.blocks[block].ops[index];
    SliceLabel label;
    label.name = op.name.empty() ? op_kind_name(op.kind) : op.name;
    label.category = category_name(category_of(op));
    label.layer = op.layer.valid() ? op.layer.value() : -1;
    if (is_communication(op.kind) && op.group != GroupKind::kSelf) {
      std::vector<int> members;
      for (const RankId member : program.layout->group(op.group, RankId(static_cast<int>(rank))))
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
