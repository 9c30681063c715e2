#include "exec/run/operation_times.hpp"

#include <algorithm>
#include <map>
#include <tuple>

#include "exec/run/op_table.hpp"

namespace moesim {
namespace {

// Who meets: all members of a group, or the two ends of a transfer; on which channel; for which time.
struct Meeting {
  std::vector<RankId> who;
  Channel channel;
  std::size_t number = 0;
  auto operator<=>(const Meeting&) const = default;
};

struct Together {
  Seconds last_start;
  Seconds last_end;
};

class Meetings {
 public:
  explicit Meetings(const Program& program) : program_(program) {}

  // The meetings of a rank must be asked for in the order of issue.
  Meeting next(RankId rank, const Op& op) {
    Meeting meeting = place(rank, op);
    meeting.number = passed_[{rank, meeting.who, meeting.channel}]++;
    return meeting;
  }

 private:
  [[nodiscard]] Meeting place(RankId rank, const Op& op) const {
    Meeting meeting;
    meeting.channel = channel_of(op.stream);
    const auto members = program_.layout->group(op.group, rank);
    if (op.kind != OpKind::kSend && op.kind != OpKind::kReceive) {
      meeting.who.assign(members.begin(), members.end());
      return meeting;
    }
    const RankId peer = members[static_cast<std::size_t>(op.peer_stage)];
    const bool sends = op.kind == OpKind::kSend;
    meeting.who = sends ? std::vector<RankId>{rank, peer} : std::vector<RankId>{peer, rank};
    return meeting;
  }

  const Program& program_;
  std::map<std::tuple<RankId, std::vector<RankId>, Channel>, std::size_t> passed_;
};

}  // namespace

std::vector<std::vector<OperationTime>> operation_times(const Program& program,
                                                        std::vector<std::vector<ExecutedOp>> ops) {
  Meetings meetings(program);
  std::map<Meeting, Together> together;
  std::vector<std::vector<Meeting>> met(ops.size());
  for (std::size_t r = 0; r < ops.size(); ++r) {
    const RankId rank(static_cast<std::int32_t>(r));
    std::ranges::sort(ops[r], {}, [](const ExecutedOp& ran) { return std::pair(ran.call, ran.op); });
    for (const ExecutedOp& ran : ops[r]) {
      const Op& op = program.op_at(program.layout->stage(rank), ran.call, ran.op);
      Meeting& meeting = met[r].emplace_back();
      if (!is_communication(op.kind)) continue;
      meeting = meetings.next(rank, op);
      Together& all = together.try_emplace(meeting, Together{ran.start, ran.end}).first->second;
      all.last_start = std::max(all.last_start, ran.start);
      all.last_end = std::max(all.last_end, ran.end);
    }
  }
  std::vector<std::vector<OperationTime>> times(ops.size());
  for (std::size_t r = 0; r < ops.size(); ++r)
    for (std::size_t i = 0; i < ops[r].size(); ++i) {
      const ExecutedOp& ran = ops[r][i];
      const bool alone = met[r][i].who.empty();
      const Together all = alone ? Together{ran.start, ran.end} : together.at(met[r][i]);
      // What is sent may lie in a buffer before its receiver asks: then nobody waited.
      times[r].push_back({ran.call, ran.op, std::max(Seconds(0), all.last_end - all.last_start), all.last_start});
    }
  return times;
}

}  // namespace moesim
