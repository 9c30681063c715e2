#include <bit>

#include "exec/comm/algorithms.hpp"

namespace moesim {
namespace {

void exchange(Schedule& schedule, RankId partner, std::span<std::byte> data, std::span<std::byte> arriving,
              OperandOrder order, Reduction how) {
  Round& round = schedule.add_round();
  round.receives.push_back({partner, arriving});
  round.sends.push_back({partner, data});
  round.locals.push_back(
      {.kind = LocalStep::Kind::kReduce, .into = data, .from = arriving, .how = how, .order = order});
}

// `data` is what both partners of an exchange have the same bits of afterwards: they add in the same order.
void double_up(Schedule& schedule, const CommGroup& group, Reduction how, std::span<std::byte> data) {
  const int position = group.position();
  const int core = static_cast<int>(std::bit_floor(static_cast<unsigned>(group.size())));
  const int extras = group.size() - core;  // these hand their numbers in and get the result back
  const auto arriving = schedule.add_scratch(data.size());

  if (position >= core) {
    schedule.add_round().sends.push_back({group.member(position - core), data});
    schedule.add_round().receives.push_back({group.member(position - core), data});
    return;
  }
  if (position < extras) {
    Round& round = schedule.add_round();
    round.receives.push_back({group.member(position + core), arriving});
    round.locals.push_back({.kind = LocalStep::Kind::kReduce, .into = data, .from = arriving, .how = how});
  }
  for (int distance = 1; distance < core; distance *= 2) {
    const int partner = position ^ distance;
    exchange(schedule, group.member(partner), data, arriving,
             position < partner ? OperandOrder::kIntoFirst : OperandOrder::kFromFirst, how);
  }
  if (position < extras) schedule.add_round().sends.push_back({group.member(position + core), data});
}

}  // namespace

Schedule recursive_doubling_all_reduce(const CommGroup& group, Reduction how, std::span<std::byte> data) {
  Schedule schedule;
  if (how.type == DType::kFp32) {
    double_up(schedule, group, how, data);
    return schedule;
  }
  // Small messages cost their start, not their bytes: carry FP32 and round once.
  const auto wide = schedule.add_scratch(2 * data.size());
  schedule.add_round().locals.push_back({.kind = LocalStep::Kind::kWiden, .into = wide, .from = data});
  double_up(schedule, group, {DType::kFp32, how.kind}, wide);
  schedule.add_round().locals.push_back({.kind = LocalStep::Kind::kNarrow, .into = data, .from = wide});
  return schedule;
}

}  // namespace moesim
