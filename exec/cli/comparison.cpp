#include "exec/cli/comparison.hpp"

#include <algorithm>
#include <map>
#include <tuple>

#include "exec/cli/execution_report.hpp"
#include "exec/run/operation_times.hpp"
#include "sim/engine/price.hpp"
#include "sim/engine/replay.hpp"

namespace moesim {
namespace {

// Sums by name, kind and phase.
class OperationSums {
 public:
  explicit OperationSums(const Program& program) : program_(program) {}

  ComparedOperation& of(RankId rank, std::size_t call, std::size_t op) {
    const auto& calls = program_.stages[program_.layout->stage(rank).index()].calls;
    const Op& found = program_.blocks[static_cast<std::size_t>(calls[call].block)].ops[op];
    const std::string name(found.name.empty() ? op_kind_name(found.kind) : found.name);
    ComparedOperation& sum = sums_[{name, found.kind, found.phase}];
    sum.name = name;
    sum.kind = op_kind_name(found.kind);
    sum.phase = phase_name(found.phase);
    return sum;
  }
  [[nodiscard]] std::vector<ComparedOperation> longest_first() const {
    std::vector<ComparedOperation> list;
    for (const auto& [key, sum] : sums_) list.push_back(sum);
    std::ranges::stable_sort(list, std::greater{}, &ComparedOperation::measured);
    return list;
  }

 private:
  const Program& program_;
  std::map<std::tuple<std::string, OpKind, Phase>, ComparedOperation> sums_;
};

Seconds seconds(Picoseconds time) { return Seconds(static_cast<double>(time) / kPicosecondsPerSecond); }

}  // namespace

Result<ComparedPlan> compare_with_prediction(const Job& job, const CostModel& costs,
                                             const std::vector<TrainingRecord>& records) {
  const PricedProgram priced = price(job.program, costs, {.folding = Folding::kEveryRank});
  const ReplayResult replayed = replay(priced.replay, {.record_intervals = true});
  if (!replayed.finished) return fail(ErrorKind::kInternal, "the step that was executed cannot finish when simulated");

  OperationSums sums(job.program);
  for (const Interval& interval : replayed.intervals)
    sums.of(priced.entities[interval.entity].representative, interval.call, interval.op).predicted +=
        seconds(interval.end - interval.start);
  std::vector<std::vector<ExecutedOp>> ops;
  for (const TrainingRecord& record : records) ops.push_back(record.ops);
  const auto times = operation_times(job.program, std::move(ops));
  for (std::size_t rank = 0; rank < times.size(); ++rank)
    for (const OperationTime& time : times[rank]) {
      ComparedOperation& sum = sums.of(RankId(static_cast<std::int32_t>(rank)), static_cast<std::size_t>(time.call),
                                       static_cast<std::size_t>(time.op));
      sum.measured += time.time;
      ++sum.count;
    }
  return ComparedPlan{run_name(job.file.plan), seconds(replayed.end), median_step_time(records), sums.longest_first()};
}

}  // namespace moesim
